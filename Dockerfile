# The broker in a container: nothing else is in it, it runs as nobody in particular, and needs no
# place to write.
#
#   docker build -t rovercast-signaling .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 8765:8765 \
#       -v "$PWD/signaling.toml:/etc/rovercast/signaling.toml:ro" rovercast-signaling
#
# In the settings, `listen` is "0.0.0.0:8765". config/compose.yaml has it beside a TURN server.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The image's own toolchain, whatever rust-toolchain.toml would add to it.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN cargo build --locked --release -p rovercast-signaling

FROM debian:bookworm-slim
COPY --from=build /src/target/release/rovercast-signaling /usr/local/bin/
# As a number, so that an orchestrator can see that it is not root.
USER 65532:65532
EXPOSE 8765
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/rovercast-signaling"]
CMD ["--config", "/etc/rovercast/signaling.toml"]

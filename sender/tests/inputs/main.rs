//! Cameras that come as encoded streams, with the programs and servers that send such.

#[cfg(test)]
mod h264;
#[cfg(test)]
mod http;
#[cfg(test)]
mod rtmp;
#[cfg(test)]
mod rtsp;
#[cfg(test)]
mod srt;
#[cfg(test)]
mod support;

//! The RTSP server as a process, which a test can stop and end. Prints where its pictures are.

use rovercast_feeders::rtsp::{Server, x264};

fn main() -> anyhow::Result<()> {
    let server = Server::start(&x264(0))?;
    println!("{}", server.url());
    server.wait();
    Ok(())
}

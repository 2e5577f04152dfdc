//! Bringing GStreamer up, once per process.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use gst::prelude::*;
use rovercast_protocol::frame_times::Epoch;

/// Why GStreamer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The library itself does not start.
    #[error("GStreamer does not start: {0}")]
    Init(#[from] gst::glib::Error),
    /// A plugin is not installed.
    #[error("the GStreamer element `{element}` is missing: install the package {package}")]
    Missing {
        /// The element's factory name.
        element: &'static str,
        /// Debian's package with it.
        package: &'static str,
    },
    /// No thread could be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// The elements that every session needs, with their packages. Without `nicesink` webrtcbin fails
/// with nothing but "failed to request pad".
pub const NEEDED: &[(&str, &str)] = &[
    ("webrtcbin", "gstreamer1.0-plugins-bad"),
    ("nicesink", "gstreamer1.0-nice"),
    ("dtlssrtpenc", "gstreamer1.0-plugins-bad"),
    ("sctpenc", "gstreamer1.0-plugins-bad"),
    ("srtpenc", "gstreamer1.0-plugins-bad"),
    ("rtpbin", "gstreamer1.0-plugins-good"),
    ("rtph264pay", "gstreamer1.0-plugins-good"),
    ("rtph264depay", "gstreamer1.0-plugins-good"),
];

/// What libraries read from the environment, and only from there.
const VARIABLES: [(&str, &str); 2] = [
    // glibc gives threads arenas of their own, and each session brings a dozen threads: what they
    // free stays scattered over all arenas, and the process grows with every viewer that comes and
    // goes.
    ("MALLOC_ARENA_MAX", "2"),
    // GStreamer 1.22's v4l2src otherwise keeps a camera that was unplugged open for ever, with its
    // memory; the kernel then gives the camera another number when it comes back.
    ("GST_V4L2_FORCE_DRAIN", "1"),
];

/// Keeps the process small and lets it let go of cameras: the first thing to call in `main`.
///
/// glibc reads its variable only when a process starts, so the program starts itself once more, as
/// the same process. Whoever has set a variable has their way.
pub fn set_environment() {
    let missing = || VARIABLES.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let mut arguments = std::env::args_os();
    if missing().next().is_none() {
        return;
    }
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        // Comes back only when it fails; then the process goes on as it is.
        let _ = Command::new(program).arg0(name).args(arguments).envs(missing()).exec();
    }
}

/// Logs to standard error what `filter` names: a level, or directives of `tracing`'s `EnvFilter`.
pub fn log_to_stderr(filter: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // What GLib's libraries complain of is for whoever looks into them: libnice warns of every
    // session that ends while it has a TURN allocation.
    gst::glib::log_set_default_handler(|domain, level, message| match level {
        gst::glib::LogLevel::Error | gst::glib::LogLevel::Critical => {
            tracing::warn!(domain, "{message}");
        }
        _ => tracing::debug!(domain, "{message}"),
    });
}

/// Starts GStreamer and what webrtcbin needs around it; checks that its plugins are there.
pub fn start() -> Result<(), StartError> {
    gst::init()?;
    for &(element, package) in NEEDED {
        need(element, package)?;
    }
    // libnice computes STUN HMACs with GnuTLS, which must be set up before threads race for it.
    drop(gio::TlsBackend::default());
    // GStreamer 1.22 resolves mDNS candidates on the default main context only.
    std::thread::Builder::new()
        .name("glib-main".into())
        .spawn(|| gst::glib::MainLoop::new(None, false).run())?;
    warm_certificate();
    Ok(())
}

/// Fails when the element is not installed, naming the package that has it.
fn need(element: &'static str, package: &'static str) -> Result<(), StartError> {
    match gst::ElementFactory::find(element) {
        Some(_) => Ok(()),
        None => Err(StartError::Missing { element, package }),
    }
}

/// All connections of a process share one DTLS certificate. Making it is slow on small boards:
/// better now than in the first viewer's session.
fn warm_certificate() {
    if let Ok(decoder) = gst::ElementFactory::make("dtlsdec").build() {
        drop(decoder.property::<Option<String>>("pem"));
    }
}

/// The clock of every pipeline in the process, and the base of all times told to peers:
/// microseconds since some fixed point.
pub fn now_us() -> i64 {
    i64::try_from(now().useconds()).unwrap_or(i64::MAX)
}

/// The same in GStreamer's terms.
pub fn now() -> gst::ClockTime {
    gst::SystemClock::obtain().time()
}

/// When that clock read zero, by the host's time of day. To be asked for once, when a program
/// starts: it may come out otherwise whenever somebody sets the time of day.
pub fn epoch() -> Epoch {
    Epoch::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), now_us())
}

/// Puts a pipeline on the one clock with base time zero, so that its running time is [`now`] and
/// buffers may pass between pipelines with the times that they have.
pub fn share_clock(pipeline: &gst::Pipeline) {
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));
    pipeline.set_start_time(gst::ClockTime::NONE);
    pipeline.set_base_time(gst::ClockTime::ZERO);
}

//! The ways by which benches send pictures from one place to another: through our programs, over
//! bare RTP, and with `webrtcsink` and `webrtcsrc`. What sends and what sees are processes of their
//! own (the bench itself, started once more to play a part), so that each may run on a host of a
//! network that the bench has made. The source, the encoder and the look at a picture are the same.

mod bare;
mod cameras;
mod case;
mod ours;
mod picture;
mod rivals;
mod running;

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, bail};

use cameras::Cameras;
pub use case::{BITRATE_KBPS, Case, Content};
pub use rivals::missing as rivals_missing;
pub use running::{Measured, Running};

use crate::lab::Program;

/// The first argument of a bench that is to play a part.
const PART: &str = "--part";

/// What [`Way::Protected`] spends.
const FEC_PERCENT: u32 = 30;

/// A way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// RTP on UDP, and nothing else; on one host.
    Bare,
    /// Rovercast's sender and receiver.
    Ours,
    /// The same, with packets that restore others.
    Protected,
    /// `webrtcsink` and `webrtcsrc`, with their defaults, by our broker.
    Rivals,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare RTP on UDP",
            Self::Ours => "Rovercast",
            Self::Protected => "Rovercast, `fec_percent = 30`",
            Self::Rivals => "webrtcsink, webrtcsrc",
        })
    }
}

/// Makes a program ready to be started on a host.
pub type Host<'a> = &'a dyn Fn(&OsStr) -> Command;

/// Where the ends of a way are.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Where what sends runs.
    pub robot: Host<'a>,
    /// Where what sees runs.
    pub operator: Host<'a>,
    /// The broker's address, as `HOST:PORT`.
    pub broker: &'a str,
}

impl<'a> Places<'a> {
    /// Both here.
    pub fn here(broker: &'a str) -> Self {
        let here: Host = &|program| Command::new(program);
        Self { robot: here, operator: here, broker }
    }
}

/// Starts GStreamer, and plays the part that this process was started for by [`Way::start`], to its
/// end; the first thing to call in a bench. False when it was started for none.
pub fn play_part() -> anyhow::Result<bool> {
    rovercast_peer::start::start()?;
    let mut arguments = std::env::args().skip_while(|argument| argument != PART).skip(1);
    let Some(part) = arguments.next() else { return Ok(false) };
    let mut next = || arguments.next().with_context(|| format!("{part}: an argument is missing"));
    let case: Case = next()?.parse()?;
    match part.as_str() {
        bare::SEE => bare::see(case)?,
        bare::SEND => bare::send(case, &next()?, &next()?)?,
        cameras::CAPTURE => cameras::capture(case, &next()?)?,
        ours::SEE => ours::see(case, &next()?)?,
        rivals::SEE => rivals::see(case, &next()?)?,
        rivals::SEND => rivals::send(case, &next()?, &next()?)?,
        _ => bail!("there is no part {part}"),
    }
    Ok(true)
}

impl Way {
    /// Starts what it takes. Pictures come when all have found each other.
    pub fn start(self, case: Case, places: Places<'_>) -> anyhow::Result<Running> {
        let cameras = Cameras::start(case, places)?;
        let place = cameras.place();
        let ends = match self {
            Self::Bare => bare::start(case, places, &place)?,
            Self::Ours => ours::start(case, places, &place, 0)?,
            Self::Protected => ours::start(case, places, &place, FEC_PERCENT)?,
            Self::Rivals => rivals::start(case, places, &place)?,
        };
        Ok(Running::new(case, ends, cameras))
    }
}

/// What sends and what sees: both end when this is dropped.
#[derive(Debug)]
struct Ends {
    eye: Program,
    _sender: Program,
}

/// A process that plays a part.
fn part(host: Host<'_>, name: &str, case: Case, arguments: &[&str]) -> anyhow::Result<Program> {
    let mut command = host(std::env::current_exe()?.as_os_str());
    command.args([PART, name, &case.to_string()]).args(arguments);
    Program::spawn(name, command)
}

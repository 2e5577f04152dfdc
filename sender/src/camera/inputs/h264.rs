//! Whether an H.264 stream can go to the viewers as it is. Pure.
//!
//! It can when every picture can be shown as soon as it is decoded, and any decoder takes it. The
//! parameter sets tell the one, and the other too where they speak of reordering; where they do
//! not, the first pictures are watched for B slices.

use std::fmt;
use std::time::Duration;

use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::{BitRead, BitReader, ByteReader};

/// Where the parameter sets say nothing about reordering, it must not show in as many pictures.
const PICTURES: u32 = 30;
/// A slow camera need not show as many: it is known by then, if [`FEWEST_PICTURES`] have come.
const WATCHED: Duration = Duration::from_secs(1);
/// Reordering shows within a group of pictures, and this is more than a group in all practice.
const FEWEST_PICTURES: u32 = 5;
/// A stream may begin between two key frames. Encoders make one every ten seconds at the latest.
const NO_KEY_FRAME: Duration = Duration::from_secs(10);
/// Timestamps that go back by more than this were set anew: no reordering reaches as far.
const FARTHEST_REORDERING: Duration = Duration::from_secs(1);
/// A parameter set is a hundred bytes at most, in all practice.
const LONGEST_PARAMETER_SET: usize = 4096;

/// What is to be done with the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not known yet. The access units from the first key frame on may be passed on already: what
    /// has been passed stays right if the verdict is [`Verdict::PassThrough`].
    Undecided,
    /// It goes to the viewers as it is.
    PassThrough(Stream),
    /// It has to be decoded and encoded. This is never taken back.
    Transcode(Reason),
}

/// What its parameter sets say of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// `profile_idc`: 66 baseline, 77 main, 100 high.
    pub profile: u8,
    /// The byte of constraint flags, as in SDP's `profile-level-id`.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Pixels in a row, after cropping.
    pub width: u32,
    /// Rows, after cropping.
    pub height: u32,
}

/// Why a stream cannot go as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its profile, by `profile_idc`, is none that every viewer decodes.
    Profile(u8),
    /// It has other colours than 4:2:0 of 8 bits.
    Colours,
    /// Its pictures may be of two fields.
    Interlaced,
    /// Pictures come in another order than they are shown in, or may.
    Reordered,
    /// There was no key frame (IDR) for so long that a viewer could not join.
    NoKeyFrame,
    /// The parameter sets cannot be read.
    Unreadable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(profile) => write!(f, "not every viewer decodes H.264 profile {profile}"),
            Self::Colours => f.write_str("it is not 4:2:0 of 8 bits"),
            Self::Interlaced => f.write_str("it is interlaced"),
            Self::Reordered => f.write_str("it has B-frames, which cost latency: switch them off"),
            Self::NoKeyFrame => {
                write!(f, "it has no key frame in {} s", NO_KEY_FRAME.as_secs())
            }
            Self::Unreadable => f.write_str("its parameter sets cannot be read"),
        }
    }
}

/// Looks at a stream for as long as it lasts. One for each connection of a camera.
#[derive(Debug)]
pub struct Inspector {
    verdict: Verdict,
    stream: Option<Stream>,
    /// The parameter sets rule reordering out.
    in_order: bool,
    key_frame: bool,
    /// When the first picture came, then when the first key frame did.
    since: Option<Duration>,
    /// From the key frame on, as far as they matter.
    pictures: u32,
    newest_pts: Option<Duration>,
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new()
    }
}

impl Inspector {
    /// Has seen nothing yet.
    pub fn new() -> Self {
        Self {
            verdict: Verdict::Undecided,
            stream: None,
            in_order: false,
            key_frame: false,
            since: None,
            pictures: 0,
            newest_pts: None,
        }
    }

    /// Looks at one access unit, with start codes (byte stream), and its parameter sets in it.
    /// `pts` is its time as the stream tells it, `now` that of any clock that does not jump.
    pub fn look(&mut self, unit: &[u8], pts: Option<Duration>, now: Duration) -> Verdict {
        if !matches!(self.verdict, Verdict::Transcode(_)) {
            self.verdict = match self.read(unit, pts, now) {
                Ok(()) => self.decide(now),
                Err(reason) => Verdict::Transcode(reason),
            };
        }
        self.verdict
    }

    fn read(&mut self, unit: &[u8], pts: Option<Duration>, now: Duration) -> Result<(), Reason> {
        let mut picture = false;
        for nal in nal_units(unit) {
            match nal.first().map(|header| header & 0x1f) {
                Some(slice @ (1 | 5)) => {
                    picture = true;
                    if slice == 5 && self.stream.is_some() && !self.key_frame {
                        (self.key_frame, self.since) = (true, Some(now));
                    }
                    if is_b_slice(nal) {
                        return Err(Reason::Reordered);
                    }
                }
                Some(7) => self.parameters(nal)?,
                _ => {}
            }
        }
        if !picture {
            return Ok(());
        }
        self.since.get_or_insert(now);
        self.pictures += u32::from(self.key_frame && self.pictures < PICTURES);
        if let (Some(pts), Some(newest)) = (pts, self.newest_pts)
            && pts < newest
            && newest - pts <= FARTHEST_REORDERING
        {
            return Err(Reason::Reordered);
        }
        self.newest_pts = pts.or(self.newest_pts);
        Ok(())
    }

    fn parameters(&mut self, nal: &[u8]) -> Result<(), Reason> {
        let (sps, level) = read_parameters(nal).ok_or(Reason::Unreadable)?;
        let profile = u8::from(sps.profile_idc);
        if !matches!(profile, 66 | 77 | 100) {
            return Err(Reason::Profile(profile));
        }
        let colours = &sps.chroma_info;
        let eight_bits = (colours.bit_depth_luma_minus8, colours.bit_depth_chroma_minus8) == (0, 0);
        if colours.chroma_format != ChromaFormat::YUV420 || !eight_bits {
            return Err(Reason::Colours);
        }
        if sps.frame_mbs_flags != FrameMbsFlags::Frames {
            return Err(Reason::Interlaced);
        }
        let told = sps.vui_parameters.as_ref().and_then(|vui| vui.bitstream_restrictions.as_ref());
        let reordered = told.map(|told| told.max_num_reorder_frames);
        if reordered.is_some_and(|frames| frames > 0) {
            // Even if there is no B-frame: a decoder holds as many pictures back.
            return Err(Reason::Reordered);
        }
        let (width, height) = sps.pixel_dimensions().map_err(|_| Reason::Unreadable)?;
        self.in_order =
            profile == 66 || reordered == Some(0) || sps.pic_order_cnt == PicOrderCntType::TypeTwo;
        self.stream = Some(Stream {
            profile,
            constraints: sps.constraint_flags.into(),
            level,
            width,
            height,
        });
        Ok(())
    }

    fn decide(&self, now: Duration) -> Verdict {
        let watched = self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let Some(stream) = self.stream.filter(|_| self.key_frame) else {
            return if watched > NO_KEY_FRAME {
                Verdict::Transcode(Reason::NoKeyFrame)
            } else {
                Verdict::Undecided
            };
        };
        let enough = self.pictures >= PICTURES
            || (self.pictures >= FEWEST_PICTURES && watched >= WATCHED)
            || matches!(self.verdict, Verdict::PassThrough(_));
        if self.in_order || enough { Verdict::PassThrough(stream) } else { Verdict::Undecided }
    }
}

/// The NAL units of an access unit with start codes.
fn nal_units(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let start = |bytes: &[u8]| bytes.windows(3).position(|three| three == [0, 0, 1]);
    let mut rest = start(unit).map_or(&[][..], |at| &unit[at + 3..]);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (nal, next) = match start(rest) {
            Some(end) => (&rest[..end], &rest[end + 3..]),
            None => (rest, &[][..]),
        };
        rest = next;
        Some(nal)
    })
}

/// The parameter set, and the level that it names.
fn read_parameters(nal: &[u8]) -> Option<(SeqParameterSet, u8)> {
    // The zero of a start code of four bytes, and padding.
    let end = nal.iter().rposition(|&byte| byte != 0)? + 1;
    let mut nal = nal.get(..end.min(LONGEST_PARAMETER_SET))?.to_vec();
    // Cameras name levels that are too low for their pictures, which decoders forgive and the
    // reader does not. Under the highest level it has nothing to forgive.
    let level = std::mem::replace(nal.get_mut(3)?, 62);
    let bits = BitReader::new(ByteReader::skipping_h264_header(&nal[..]));
    Some((SeqParameterSet::from_bits(bits).ok()?, level))
}

/// A slice that cannot be read is no B slice: one damaged packet must not change the verdict.
fn is_b_slice(nal: &[u8]) -> bool {
    let mut bits = BitReader::new(ByteReader::skipping_h264_header(nal));
    let slice_type = bits.read_ue("first_mb_in_slice").and_then(|_| bits.read_ue("slice_type"));
    slice_type.is_ok_and(|slice_type| slice_type % 5 == 1)
}

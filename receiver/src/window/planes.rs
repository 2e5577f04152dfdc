//! A decoded picture's samples, as SDL takes them. Copied only where it has to be: to convert
//! colors, and for planes that SDL wants next to each other.

use gst_video::{VideoColorMatrix, VideoColorRange, VideoFormat, VideoFrameExt, VideoInfo};
use sdl2::pixels::PixelFormatEnum;
use sdl2::render::Texture;

use crate::window::colors::{BT601, BT709, BT2020, Coding, Conversion, SMPTE240M};

/// A picture that was received.
pub(crate) struct Planes<'a> {
    frame: gst_video::VideoFrameRef<&'a gst::BufferRef>,
    info: VideoInfo,
    conversion: Option<Conversion>,
}

impl<'a> Planes<'a> {
    /// Those of a sample. The error is for people.
    pub(crate) fn of(sample: &'a gst::Sample) -> Result<Self, String> {
        let told = |error: gst::glib::BoolError| error.message.to_string();
        let caps = sample.caps().ok_or("a picture without a format")?;
        let info = VideoInfo::from_caps(caps).map_err(told)?;
        if !matches!(info.format(), VideoFormat::I420 | VideoFormat::Nv12) {
            return Err(format!("pictures in {} cannot be shown", info.format()));
        }
        let buffer = sample.buffer().ok_or("a picture without pixels")?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info);
        let conversion = Conversion::from(coding(&info));
        Ok(Self { frame: frame.map_err(told)?, info, conversion })
    }

    /// Width and height of its texture: both chroma planes have half the size, and what is odd
    /// loses its last column or row.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.info.width() & !1, self.info.height() & !1)
    }

    /// The format of its texture.
    pub(crate) fn format(&self) -> PixelFormatEnum {
        match self.info.format() {
            VideoFormat::Nv12 if self.conversion.is_none() => PixelFormatEnum::NV12,
            _ => PixelFormatEnum::IYUV,
        }
    }

    /// Its width to height, as it is meant to be seen.
    pub(crate) fn aspect(&self) -> f64 {
        let par = self.info.par();
        let wide = f64::from(par.numer()) / f64::from(par.denom().max(1));
        f64::from(self.info.width()) / f64::from(self.info.height().max(1)) * wide
    }

    /// Puts it into a texture of its size and format. What has to be copied, goes through `spare`.
    pub(crate) fn upload(
        &self,
        texture: &mut Texture<'_>,
        spare: &mut Vec<u8>,
    ) -> Result<(), String> {
        if let Some(conversion) = &self.conversion {
            return self.upload_converted(conversion, texture, spare);
        }
        let (width, rows) = (self.size().0 as usize, self.size().1 as usize);
        let (luma, pitch) = self.plane(0, width, rows)?;
        if self.format() == PixelFormatEnum::IYUV {
            let (u, u_pitch) = self.plane(1, width / 2, rows / 2)?;
            let (v, v_pitch) = self.plane(2, width / 2, rows / 2)?;
            let updated = texture.update_yuv(None, luma, pitch, u, u_pitch, v, v_pitch);
            return updated.map_err(|error| error.to_string());
        }
        let (chroma, chroma_pitch) = self.plane(1, width, rows / 2)?;
        if chroma_pitch != pitch {
            return Err("planes of different width cannot be shown".to_owned());
        }
        spare.clear();
        spare.extend_from_slice(luma);
        spare.extend_from_slice(chroma);
        texture.update(None, spare, pitch).map_err(|error| error.to_string())
    }

    fn upload_converted(
        &self,
        conversion: &Conversion,
        texture: &mut Texture<'_>,
        spare: &mut Vec<u8>,
    ) -> Result<(), String> {
        let (width, rows) = (self.size().0 as usize, self.size().1 as usize);
        spare.resize(width * rows * 3 / 2, 0);
        let (luma, chroma) = spare.split_at_mut(width * rows);
        let (blue, red) = chroma.split_at_mut(width * rows / 4);
        let (from, pitch) = self.plane(0, width, rows)?;
        for (to, from) in luma.chunks_exact_mut(width).zip(from.chunks_exact(pitch)) {
            to.copy_from_slice(&from[..width]);
        }
        self.copy_chroma(blue, red)?;
        let chroma = blue.chunks_exact_mut(width / 2).zip(red.chunks_exact_mut(width / 2));
        for (luma, (blue, red)) in luma.chunks_exact_mut(2 * width).zip(chroma) {
            let (upper, lower) = luma.split_at_mut(width);
            conversion.rows([upper, lower], blue, red);
        }
        let (luma, chroma) = spare.split_at(width * rows);
        let (blue, red) = chroma.split_at(width * rows / 4);
        let updated = texture.update_yuv(None, luma, width, blue, width / 2, red, width / 2);
        updated.map_err(|error| error.to_string())
    }

    fn copy_chroma(&self, blue: &mut [u8], red: &mut [u8]) -> Result<(), String> {
        let (width, rows) = (self.size().0 as usize / 2, self.size().1 as usize / 2);
        if self.info.format() == VideoFormat::Nv12 {
            let (from, pitch) = self.plane(1, 2 * width, rows)?;
            let to = blue.chunks_exact_mut(width).zip(red.chunks_exact_mut(width));
            for ((blue, red), from) in to.zip(from.chunks_exact(pitch)) {
                for ((blue, red), pair) in blue.iter_mut().zip(red).zip(from.chunks_exact(2)) {
                    (*blue, *red) = (pair[0], pair[1]);
                }
            }
            return Ok(());
        }
        for (index, to) in [(1, blue), (2, red)] {
            let (from, pitch) = self.plane(index, width, rows)?;
            for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(pitch)) {
                to.copy_from_slice(&from[..width]);
            }
        }
        Ok(())
    }

    /// So many rows of a plane, each of at least so many samples, and how many bytes each has.
    fn plane(&self, index: u32, columns: usize, rows: usize) -> Result<(&[u8], usize), String> {
        let stride = self.frame.plane_stride().get(index as usize).copied().unwrap_or(0);
        let stride = usize::try_from(stride).ok().filter(|stride| *stride >= columns.max(1));
        let stride = stride.ok_or("a picture with rows too short")?;
        let data = self.frame.plane_data(index).map_err(|error| error.to_string())?;
        Ok((data.get(..stride * rows).ok_or("a picture with rows too few")?, stride))
    }
}

fn coding(info: &VideoInfo) -> Coding {
    let colorimetry = info.colorimetry();
    let known = match colorimetry.matrix() {
        VideoColorMatrix::Bt709 => BT709,
        VideoColorMatrix::Bt2020 => BT2020,
        VideoColorMatrix::Smpte240m => SMPTE240M,
        _ => BT601,
    };
    Coding { full_range: colorimetry.range() == VideoColorRange::Range0_255, ..known }
}

//! Inflates the body of a response if it is compressed. Known by its bytes, since servers leave out `Content-Encoding` or
//! spell it otherwise.

use std::borrow::Cow;
use std::io::{self, Write as _};

use flate2::write::MultiGzDecoder;

/// The beginning of a compressed body.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Inflates one body. What was compressed twice is inflated once.
pub(super) enum Inflater {
    /// At most the first byte of the magic number has arrived.
    Unknown,
    FirstByteOfMagic,
    Plain,
    Gzip(Box<MultiGzDecoder<Inflated>>),
}

/// Why a body cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InflateError {
    /// The inflated bytes are more than the limit.
    TooLarge,
    /// The bytes are damaged.
    Damaged,
}

/// Inflated bytes. Above the limit it takes no more, so that a few bytes cannot become many.
pub(super) struct Inflated {
    bytes: Vec<u8>,
    limit: usize,
}

impl Inflater {
    /// Inflates bytes of the body, cut anywhere, to at most `limit` bytes.
    pub(super) fn inflate<'a>(&mut self, bytes: &'a [u8], limit: usize) -> Result<Cow<'a, [u8]>, InflateError> {
        match self {
            Self::Plain => return Ok(Cow::Borrowed(bytes)),
            Self::Gzip(decoder) => return write(decoder, bytes),
            Self::Unknown | Self::FirstByteOfMagic => {}
        }
        let held: &[u8] = if matches!(self, Self::Unknown) { &[] } else { &GZIP_MAGIC[..1] };
        let start = [held, bytes].concat();
        if start.is_empty() {
            return Ok(Cow::Borrowed(bytes));
        }
        if start == GZIP_MAGIC[..1] {
            *self = Self::FirstByteOfMagic;
            return Ok(Cow::Borrowed(&[]));
        }
        if !start.starts_with(&GZIP_MAGIC) {
            *self = Self::Plain;
            return Ok(Cow::Owned(start));
        }
        let mut decoder = Box::new(MultiGzDecoder::new(Inflated { bytes: Vec::new(), limit }));
        let inflated = write(&mut decoder, &start);
        *self = Self::Gzip(decoder);
        inflated
    }
}

fn write(decoder: &mut MultiGzDecoder<Inflated>, bytes: &[u8]) -> Result<Cow<'static, [u8]>, InflateError> {
    let written = decoder.write_all(bytes).and_then(|()| decoder.flush());
    let inflated = std::mem::take(&mut decoder.get_mut().bytes);
    match written {
        Ok(()) => Ok(Cow::Owned(inflated)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(InflateError::TooLarge),
        // What comes before the damage can be read; the next bytes fail again.
        Err(_) if !inflated.is_empty() => Ok(Cow::Owned(inflated)),
        Err(_) => Err(InflateError::Damaged),
    }
}

impl io::Write for Inflated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The body that arrives in these pieces, inflated.
    fn inflate<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, InflateError> {
        let mut inflater = Inflater::Unknown;
        let parts = pieces.into_iter().map(|piece| inflater.inflate(piece, 1000).map(Cow::into_owned));
        Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
    }

    #[test]
    fn a_compressed_body_is_inflated_and_any_other_passes() {
        let several = [gzip(b"one "), gzip(b"two")].concat();
        for (body, inflated) in [(several, &b"one two"[..]), (b"\x1fplain".to_vec(), b"\x1fplain"), (Vec::new(), b"")] {
            assert_eq!(inflate([&body[..]]).unwrap(), inflated);
            assert_eq!(inflate(body.chunks(1)).unwrap(), inflated);
        }
    }

    #[test]
    fn a_body_within_a_body_is_not_inflated_and_a_bomb_is_an_error() {
        let twice = gzip(&gzip(b"one"));
        assert_eq!(inflate([&twice[..]]).unwrap(), gzip(b"one"));
        let bomb = gzip(&vec![b' '; 1_000_000]);
        assert_eq!(inflate([&bomb[..]]), Err(InflateError::TooLarge));
        assert_eq!(inflate([&[0x1f, 0x8b, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10][..]]), Err(InflateError::Damaged));
    }
}

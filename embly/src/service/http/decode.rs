//! Bodies that come compressed, unpacked piece by piece: what is held of one is a window and a piece,
//! however much it unpacks to.

use std::io::Write;
use std::sync::Arc;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::header::{self, HeaderMap, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that are unpacked at once.
const PIECE: usize = 32 * 1024;

/// Bytes that may unpack to more than [`RATIO`] allows: small bodies of one letter are no bombs.
const FREE: u64 = 1 << 20;

/// How many times as long as what came in a body may be. Text comes to 20, logs to 100; bombs of
/// gzip have 1,000, of brotli far more.
const RATIO: u64 = 200;

/// Bodies that are unpacked from brotli at the same time: each can ask for a window of 16 MiB, so 256
/// MiB in all.
const BROTLI: usize = 16;

/// What a response may come compressed with, for one request. Without room for brotli it is not
/// offered.
#[derive(Debug)]
pub struct Offer {
    brotli: Option<OwnedSemaphorePermit>,
}

/// Room for what takes much memory.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BROTLI)))
    }
}

impl Room {
    /// What can be unpacked now.
    pub fn offer(&self) -> Offer {
        let brotli = Arc::clone(&self.0).try_acquire_owned().ok();
        Offer { brotli }
    }
}

impl Offer {
    /// The header `accept-encoding`.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_static(match self.brotli {
            Some(_) => "gzip, deflate, br",
            None => "gzip, deflate",
        })
    }

    /// How to unpack a response with these headers; takes away those that are then no longer true.
    /// `None`: it comes as it is.
    ///
    /// # Errors
    /// A coding that was not offered.
    pub fn decoder(self, headers: &mut HeaderMap) -> Result<Option<Decoder>, String> {
        let codings = codings(headers);
        let kind = match codings.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => return Ok(None),
            ["gzip" | "x-gzip"] => {
                Kind::Gzip(Box::new(MultiGzDecoder::new(Vec::with_capacity(PIECE))))
            }
            ["deflate"] => Kind::Sniff,
            ["br"] => {
                let permit = self
                    .brotli
                    .ok_or_else(|| "`br`, which was not offered".to_owned())?;
                Kind::Brotli(Box::new(Brotli::new(permit)))
            }
            _ => return Err(format!("`{}`, which was not offered", codings.join(", "))),
        };
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        Ok(Some(Decoder {
            kind,
            taken: 0,
            made: 0,
            full: false,
        }))
    }
}

/// The codings of a body, outermost last, without those that do nothing.
fn codings(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    let names = values.flat_map(|value| {
        value
            .split(',')
            .map(|it| it.trim().to_owned())
            .collect::<Vec<_>>()
    });
    names
        .filter(|name| !name.is_empty() && name != "identity")
        .collect()
}

/// Unpacks one body.
pub struct Decoder {
    kind: Kind,
    taken: u64,
    made: u64,
    /// More may come out without more going in.
    full: bool,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { taken, made, .. } = self;
        write!(f, "Decoder({taken} to {made})")
    }
}

enum Kind {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Deflate, in the wrapping of zlib or, as some servers send it, without.
    Sniff,
    Inflate(Box<Inflate>),
    Brotli(Box<Brotli>),
}

/// Why a body cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is something else, or ends too early.
    #[error("sends a compressed body that cannot be unpacked: {0}")]
    Data(String),
    /// It unpacks to far more than anybody means.
    #[error(
        "sends a compressed body that unpacks to more than {RATIO} times its length; take it as it \
         is with the option `compressed`"
    )]
    Bomb,
}

impl Decoder {
    /// Unpacks a piece of what came in, as far as it goes; what is left of it is for the next time.
    /// Nothing: all of it was taken.
    ///
    /// # Errors
    /// See [`Broken`].
    pub fn unpack(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Broken> {
        while !input.is_empty() || std::mem::take(&mut self.full) {
            let before = input.len();
            let out = self.step(input)?;
            self.taken += (before - input.len()) as u64;
            self.made += out.len() as u64;
            if self.made > FREE && self.made / RATIO > self.taken {
                return Err(Broken::Bomb);
            }
            if !out.is_empty() {
                self.full = out.len() == PIECE;
                return Ok(Some(out.into()));
            }
            if input.len() == before && before > 0 {
                return Err(Broken::Data("there is more after its end".to_owned()));
            }
        }
        Ok(None)
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Vec<u8>, Broken> {
        if let Kind::Sniff = self.kind {
            self.kind = sniffed(input);
        }
        match &mut self.kind {
            Kind::Gzip(decoder) => {
                let taken = write(decoder.as_mut(), input)?;
                let out = std::mem::take(decoder.get_mut());
                drop(input.split_to(taken));
                Ok(out)
            }
            Kind::Inflate(inflate) => inflate.step(input),
            Kind::Brotli(brotli) => brotli.step(input),
            Kind::Sniff => Ok(Vec::new()),
        }
    }

    /// The last of what came out, once all has gone in.
    ///
    /// # Errors
    /// When it ends in the middle.
    pub fn finish(&mut self) -> Result<Bytes, Broken> {
        let rest = match &mut self.kind {
            // Nothing came: the body is empty.
            _ if self.taken == 0 => Vec::new(),
            Kind::Sniff => Vec::new(),
            Kind::Gzip(decoder) => {
                decoder
                    .try_finish()
                    .map_err(|error| Broken::Data(error.to_string()))?;
                std::mem::take(decoder.get_mut())
            }
            Kind::Inflate(inflate) if inflate.ended => Vec::new(),
            Kind::Brotli(brotli) if brotli.ended => Vec::new(),
            Kind::Inflate(_) | Kind::Brotli(_) => {
                return Err(Broken::Data("it ends too early".to_owned()));
            }
        };
        Ok(rest.into())
    }
}

fn write(decoder: &mut impl Write, input: &Bytes) -> Result<usize, Broken> {
    let piece = &input[..input.len().min(PIECE)];
    decoder
        .write(piece)
        .map_err(|error| Broken::Data(error.to_string()))
}

/// RFC 1950, section 2.2: method 8, and the first two bytes are a multiple of 31.
fn sniffed(input: &Bytes) -> Kind {
    let zlib = match input[..] {
        [first, second, ..] => {
            first & 0x0f == 8 && u16::from_be_bytes([first, second]).is_multiple_of(31)
        }
        [first] => first & 0x0f == 8,
        [] => true,
    };
    Kind::Inflate(Box::new(Inflate {
        state: Decompress::new(zlib),
        ended: false,
    }))
}

struct Inflate {
    state: Decompress,
    ended: bool,
}

impl Inflate {
    fn step(&mut self, input: &mut Bytes) -> Result<Vec<u8>, Broken> {
        if self.ended {
            return Ok(Vec::new());
        }
        let mut out = vec![0; PIECE];
        let before = (self.state.total_in(), self.state.total_out());
        let status = self
            .state
            .decompress(input, &mut out, FlushDecompress::None);
        let status = status.map_err(|error| Broken::Data(error.to_string()))?;
        let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let taken = count(self.state.total_in() - before.0);
        drop(input.split_to(taken.min(input.len())));
        out.truncate(count(self.state.total_out() - before.1));
        self.ended = status == Status::StreamEnd;
        Ok(out)
    }
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Brotli {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        let alloc = StandardAlloc::default;
        Self {
            // The plain constructor takes windows of up to 1 GiB, which RFC 7932 does not have.
            state: BrotliState::new_strict(alloc(), alloc(), alloc()),
            ended: false,
            _permit: permit,
        }
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Vec<u8>, Broken> {
        if self.ended {
            return Ok(Vec::new());
        }
        let mut out = vec![0; PIECE];
        let (mut left, mut taken) = (input.len(), 0);
        let (mut room, mut made, mut total) = (out.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut taken,
            input,
            &mut room,
            &mut made,
            &mut out,
            &mut total,
            &mut self.state,
        );
        drop(input.split_to(taken));
        out.truncate(made);
        match result {
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => {
                return Err(Broken::Data("it is not brotli".to_owned()));
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    fn decoder(coding: &str) -> Decoder {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_ENCODING,
            HeaderValue::from_str(coding).unwrap(),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
        let decoder = Room::default()
            .offer()
            .decoder(&mut headers)
            .unwrap()
            .unwrap();
        assert!(headers.is_empty());
        decoder
    }

    /// What comes out of it, and the longest piece.
    fn unpack(coding: &str, bytes: &[u8], cut: usize) -> Result<(Vec<u8>, usize), Broken> {
        let mut decoder = decoder(coding);
        let (mut all, mut longest) = (Vec::new(), 0);
        for piece in bytes.chunks(cut.max(1)) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(out) = decoder.unpack(&mut piece)? {
                longest = longest.max(out.len());
                all.extend_from_slice(&out);
            }
        }
        all.extend_from_slice(&decoder.finish()?);
        Ok((all, longest))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// `hello, hello, hello, hello`, packed by the reference implementation.
    const BROTLI_HELLO: &[u8] = &[
        0x1b, 0x19, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x09, 0x52, 0x86, 0x96, 0x6c, 0x2c,
        0x6f, 0x31, 0x4f, 0x24, 0xb0, 0xe3, 0x00,
    ];

    /// 64 MiB of zeros, by the same.
    const BROTLI_ZEROS: &[u8] = &[
        0xcb, 0xff, 0xff, 0x3f, 0xf8, 0x27, 0x00, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x8f, 0xff,
        0xff, 0x7f, 0xf0, 0x4f, 0x00, 0xc4, 0x61, 0x11, 0x80, 0xee, 0xfd, 0x1f, 0xff, 0xff, 0xff,
        0xe0, 0x9f, 0x00, 0x88, 0xc3, 0x02, 0x00, 0xdd, 0xfb, 0x3f, 0xfe, 0xff, 0xff, 0xc1, 0x3f,
        0x01, 0x10, 0x87, 0x05, 0x00, 0xba, 0xf7, 0x7f, 0xfc, 0xff, 0xff, 0x83, 0x7f, 0x02, 0x20,
        0x0e, 0x0b, 0x00, 0x74, 0xef, 0xff, 0xf8, 0xff, 0xff, 0x07, 0xff, 0x04, 0x40, 0x1c, 0x16,
        0x00, 0xe8, 0xde, 0xff, 0xf1, 0xff, 0xff, 0x0f, 0xfe, 0x09, 0x80, 0x38, 0x2c, 0x00, 0xd0,
        0xbd, 0xff, 0xe3, 0xff, 0xff, 0x1f, 0xfc, 0x13, 0x00, 0x71, 0x58, 0x00, 0xa0, 0x7b, 0xff,
        0x37,
    ];

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked_however_it_is_cut(bytes in prop::collection::vec(0u8..4, 0..20_000), cut in 1usize..5000) {
            for (coding, packed) in [("gzip", gzip(&bytes)), ("deflate", zlib(&bytes)), ("deflate", deflate(&bytes))] {
                // Of one byte nobody can tell which of the two it is.
                let cut = if coding == "deflate" { cut.max(2) } else { cut };
                let (out, longest) = unpack(coding, &packed, cut).unwrap();
                prop_assert!(out == bytes, "{}", coding);
                prop_assert!(longest <= PIECE);
            }
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500), cut in 1usize..100) {
            for coding in ["gzip", "deflate", "br"] {
                let _ = unpack(coding, &bytes, cut);
            }
        }

        #[test]
        fn half_a_body_is_not_taken_for_a_whole_one(bytes in prop::collection::vec(any::<u8>(), 1..500), part in 0.1f64..0.99) {
            for (coding, packed) in [("gzip", gzip(&bytes)), ("deflate", zlib(&bytes))] {
                let most = packed.len() - 1;
                let half = ((packed.len() as f64 * part) as usize).clamp(2, most);
                prop_assert!(unpack(coding, &packed[..half], 7).is_err(), "{} {}", coding, half);
            }
        }
    }

    #[test]
    fn brotli_is_unpacked_however_it_is_cut() {
        for cut in 1..=BROTLI_HELLO.len() {
            let (out, _) = unpack("br", BROTLI_HELLO, cut).unwrap();
            assert_eq!(out, b"hello, hello, hello, hello");
        }
        assert!(unpack("br", &BROTLI_HELLO[..8], 3).is_err());
    }

    #[test]
    fn a_window_is_no_larger_than_the_rfc_has_it() {
        // A window, `hi` as it is, and the end.
        let of_16_mib = [0x8f, 0x00, 0x80, b'h', b'i', 0x03];
        assert_eq!(unpack("br", &of_16_mib, 1).unwrap().0, b"hi");
        // What other programs take for a window of 1 GiB.
        let of_1_gib = [0x11, 0x1e, 0x02, 0x02, b'h', b'i', 0x03];
        assert!(matches!(unpack("br", &of_1_gib, 1), Err(Broken::Data(_))));
    }

    #[test]
    fn what_comes_out_after_the_last_byte_went_in_is_not_lost() {
        // 64 MiB of zeros in 106 bytes: at the last of them far more than a piece is to come.
        let mut decoder = decoder("br");
        decoder.taken = 1 << 40; // No bomb, for once.
        let (mut input, mut made) = (Bytes::from_static(BROTLI_ZEROS), 0);
        while let Some(out) = decoder.unpack(&mut input).unwrap() {
            assert!(out.len() <= PIECE);
            made += out.len();
        }
        made += decoder.finish().unwrap().len();
        assert_eq!(made, 64 << 20);
        for length in [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let bytes = vec![7; length];
            for (coding, packed) in [
                ("gzip", gzip(&bytes)),
                ("deflate", zlib(&bytes)),
                ("deflate", deflate(&bytes)),
            ] {
                assert!(
                    unpack(coding, &packed, packed.len()).unwrap().0 == bytes,
                    "{coding} {length}"
                );
            }
        }
    }

    #[test]
    fn several_members_are_one_body_and_what_follows_is_refused() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(unpack("gzip", &two, 5).unwrap().0, b"one two");
        let more = [zlib(b"one"), b"more".to_vec()].concat();
        assert!(unpack("deflate", &more, 100).is_err());
        let more = [BROTLI_HELLO, b"more"].concat();
        assert!(unpack("br", &more, 100).is_err());
    }

    #[test]
    fn bombs_are_refused_long_before_they_are_unpacked() {
        let zeros = vec![0; 64 << 20];
        let bomb = gzip(&zeros);
        assert!(bomb.len() < 128 * 1024);
        assert_eq!(unpack("gzip", &bomb, bomb.len()), Err(Broken::Bomb));
        assert_eq!(unpack("deflate", &zlib(&zeros), 1000), Err(Broken::Bomb));
        assert_eq!(unpack("br", BROTLI_ZEROS, 1000), Err(Broken::Bomb));
        let small = vec![0; FREE as usize];
        assert_eq!(unpack("gzip", &gzip(&small), 100).unwrap().0, small);
    }

    #[test]
    fn an_empty_body_is_empty_and_other_codings_are_refused() {
        for coding in ["gzip", "deflate", "br"] {
            assert_eq!(unpack(coding, b"", 1).unwrap().0, b"");
        }
        let decoder = |coding: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            Room::default().offer().decoder(&mut headers)
        };
        assert!(matches!(decoder("identity"), Ok(None)));
        assert!(matches!(decoder(""), Ok(None)));
        assert!(matches!(decoder("X-GZIP"), Ok(Some(_))));
        assert!(decoder("zstd").unwrap_err().contains("`zstd`"));
        assert!(decoder("gzip, gzip").is_err());
    }

    #[test]
    fn brotli_is_offered_as_long_as_there_is_room() {
        let room = Room::default();
        let offers: Vec<_> = (0..BROTLI).map(|_| room.offer()).collect();
        assert!(
            offers
                .iter()
                .all(|offer| offer.header() == "gzip, deflate, br")
        );
        let last = room.offer();
        assert_eq!(last.header(), "gzip, deflate");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert!(last.decoder(&mut headers).is_err());
        drop(offers);
        assert_eq!(room.offer().header(), "gzip, deflate, br");
    }
}

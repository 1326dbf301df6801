//! The smallest JPEG encoder: one component, baseline, the tables of the recommendation (ITU T.81).

use crate::{
    huffman::{AC, Bits, Codes, DC, Spec},
    scene::Picture,
};
use std::f32::consts::{FRAC_1_SQRT_2, PI};

/// How coarse each frequency of a block is stored, row by row (table K.1).
#[rustfmt::skip]
const QUANT: [u8; 64] = [
    16, 11, 10, 16,  24,  40,  51,  61,
    12, 12, 14, 19,  26,  58,  60,  55,
    14, 13, 16, 24,  40,  57,  69,  56,
    14, 17, 22, 29,  51,  87,  80,  62,
    18, 22, 37, 56,  68, 109, 103,  77,
    24, 35, 55, 64,  81, 104, 113,  92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103,  99,
];

/// The order in which the frequencies of a block are stored: the low ones first.
#[rustfmt::skip]
const ZIGZAG: [usize; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10,
    17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34,
    27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36,
    29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46,
    53, 60, 61, 54, 47, 55, 62, 63,
];

/// A picture as a JPEG file.
pub fn encode(picture: &Picture) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    segment(&mut file, 0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    let quant: Vec<u8> = ZIGZAG.iter().map(|at| QUANT[*at]).collect();
    segment(&mut file, 0xdb, &[&[0], &quant[..]].concat());
    let [h1, h0] = (picture.height as u16).to_be_bytes();
    let [w1, w0] = (picture.width as u16).to_be_bytes();
    segment(&mut file, 0xc0, &[8, h1, h0, w1, w0, 1, 1, 0x11, 0]);
    segment(&mut file, 0xc4, &table(0x00, &DC));
    segment(&mut file, 0xc4, &table(0x10, &AC));
    segment(&mut file, 0xda, &[1, 1, 0x00, 0, 63, 0]);
    file.extend(scan(picture));
    file.extend([0xff, 0xd9]);
    file
}

fn segment(file: &mut Vec<u8>, marker: u8, content: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((content.len() as u16 + 2).to_be_bytes());
    file.extend(content);
}

fn table(class: u8, spec: &Spec) -> Vec<u8> {
    [&[class], &spec.lengths[..], spec.values].concat()
}

/// The picture itself: block after block.
fn scan(picture: &Picture) -> Vec<u8> {
    let (dc, ac) = (Codes::new(&DC), Codes::new(&AC));
    let cosines = cosines();
    let mut bits = Bits::default();
    let mut last = 0;
    for y in (0..picture.height).step_by(8) {
        for x in (0..picture.width).step_by(8) {
            let block = quantize(&transform(&block(picture, x, y), &cosines));
            let (size, tail) = number(block[0] - last);
            last = block[0];
            bits.code(&dc, size);
            bits.push(tail, size);
            frequencies(&mut bits, &ac, &block[1..]);
        }
    }
    bits.finish();
    bits.bytes
}

/// All but the mean: numbers, and how many zeros stand before each.
fn frequencies(bits: &mut Bits, codes: &Codes, numbers: &[i16]) {
    let mut zeros = 0;
    for n in numbers {
        if *n == 0 {
            zeros += 1;
            continue;
        }
        while zeros >= 16 {
            bits.code(codes, 0xf0);
            zeros -= 16;
        }
        let (size, tail) = number(*n);
        bits.code(codes, zeros << 4 | size);
        bits.push(tail, size);
        zeros = 0;
    }
    if zeros > 0 {
        bits.code(codes, 0x00); // only zeros from here on
    }
}

/// How many bits a number needs, and those bits; negative ones are counted down from all ones.
fn number(n: i16) -> (u8, u16) {
    let size = (16 - n.unsigned_abs().leading_zeros()) as u8;
    let tail = if n < 0 { n - 1 } else { n };
    (size, tail as u16)
}

/// 8 × 8 pixels around 0. Beyond the edge the last pixel goes on.
fn block(picture: &Picture, x: usize, y: usize) -> [f32; 64] {
    std::array::from_fn(|at| {
        let x = (x + at % 8).min(picture.width - 1);
        let y = (y + at / 8).min(picture.height - 1);
        f32::from(picture.pixels[y * picture.width + x]) - 128.0
    })
}

type Cosines = [[f32; 8]; 8];

fn cosines() -> Cosines {
    std::array::from_fn(|u| {
        let scale = if u == 0 { FRAC_1_SQRT_2 / 2.0 } else { 0.5 };
        std::array::from_fn(|x| scale * ((2 * x + 1) as f32 * u as f32 * PI / 16.0).cos())
    })
}

/// From pixels to frequencies (a discrete cosine transform): first the rows, then the columns.
fn transform(pixels: &[f32; 64], cosines: &Cosines) -> [f32; 64] {
    let rows: [f32; 64] = std::array::from_fn(|at| {
        let (y, u) = (at / 8, at % 8);
        (0..8).map(|x| cosines[u][x] * pixels[y * 8 + x]).sum()
    });
    std::array::from_fn(|at| {
        let (v, u) = (at / 8, at % 8);
        (0..8).map(|y| cosines[v][y] * rows[y * 8 + u]).sum()
    })
}

/// Coarser, and in the order in which they are stored.
fn quantize(frequencies: &[f32; 64]) -> [i16; 64] {
    ZIGZAG.map(|at| (frequencies[at] / f32::from(QUANT[at])).round() as i16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene;

    #[test]
    fn the_order_has_every_frequency_once() {
        let mut order = ZIGZAG;
        order.sort();
        assert_eq!(order, std::array::from_fn(|at| at));
    }

    #[test]
    fn numbers_are_stored_as_the_recommendation_says() {
        assert_eq!(number(0), (0, 0));
        assert_eq!(number(5), (3, 0b101));
        assert_eq!((number(-5).0, number(-5).1 & 0b111), (3, 0b010));
    }

    #[test]
    fn a_block_of_one_shade_has_only_a_mean() {
        let block = quantize(&transform(&[64.0; 64], &cosines()));
        assert_eq!((block[0], &block[1..]), (32, &[0; 63][..]));
    }

    #[test]
    fn a_file_is_one_picture_from_start_to_end() {
        let file = encode(&scene::at(3));
        assert!(file.starts_with(&[0xff, 0xd8, 0xff, 0xe0]) && file.ends_with(&[0xff, 0xd9]));
        let scan = file.windows(2).position(|it| it == [0xff, 0xda]).unwrap() + 2;
        let end = file[scan..]
            .windows(2)
            .position(|it| it[0] == 0xff && it[1] != 0)
            .unwrap();
        assert_eq!(
            scan + end,
            file.len() - 2,
            "no marker inside of the picture"
        );
    }
}

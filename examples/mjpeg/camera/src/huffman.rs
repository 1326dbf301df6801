//! The Huffman codes of JPEG's own recommendation (ITU T.81, annex K.3), and bits in a row.

/// A table as the file has it: how many codes there are of each length from 1 to 16 bits, and what
/// they stand for, the shortest first.
pub struct Spec {
    pub lengths: [u8; 16],
    pub values: &'static [u8],
}

/// How many bits a block's mean differs by from that of the block before.
pub const DC: Spec = Spec {
    lengths: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
    values: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
};

/// How many zeros come first (upper half), and how many bits the next number has (lower half).
pub const AC: Spec = Spec {
    lengths: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d],
    values: &[
        0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61,
        0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52,
        0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25,
        0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45,
        0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64,
        0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
        0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
        0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6,
        0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3,
        0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8,
        0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
    ],
};

/// For each value its code and the code's length in bits.
pub struct Codes([(u16, u8); 256]);

impl Codes {
    pub fn new(spec: &Spec) -> Self {
        let mut codes = [(0, 0); 256];
        let mut values = spec.values.iter();
        let mut code = 0;
        for (bits, count) in (1..).zip(spec.lengths) {
            for value in values.by_ref().take(count.into()) {
                codes[usize::from(*value)] = (code, bits);
                code += 1;
            }
            code <<= 1;
        }
        Self(codes)
    }
}

/// Writes bits, the highest first.
#[derive(Default)]
pub struct Bits {
    pub bytes: Vec<u8>,
    waiting: u32,
    count: u8,
}

impl Bits {
    pub fn code(&mut self, codes: &Codes, value: u8) {
        let (code, bits) = codes.0[usize::from(value)];
        self.push(code, bits);
    }

    /// The lowest `count` of these bits.
    pub fn push(&mut self, bits: u16, count: u8) {
        let mask = (1_u32 << count) - 1;
        self.waiting = (self.waiting << count) | (u32::from(bits) & mask);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.waiting >> self.count) as u8;
            self.bytes.push(byte);
            if byte == 0xff {
                self.bytes.push(0); // or it would be taken for a marker
            }
        }
    }

    /// Fills up the last byte.
    pub fn finish(&mut self) {
        if self.count > 0 {
            self.push(u16::MAX, 8 - self.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_whole() {
        for spec in [DC, AC] {
            let count: usize = spec.lengths.iter().map(|it| usize::from(*it)).sum();
            assert_eq!(count, spec.values.len());
        }
        // From table K.5.
        let codes = Codes::new(&AC);
        assert_eq!(codes.0[0x00], (0b1010, 4));
        assert_eq!(codes.0[0xf0], (0b111_1111_1001, 11));
        assert_eq!(codes.0[0xfa], (0xfffe, 16));
    }

    #[test]
    fn bits_are_packed_and_ff_is_followed_by_0() {
        let mut bits = Bits::default();
        bits.push(0b1, 1);
        bits.push(0b1111111, 7);
        bits.push(0b0, 1);
        bits.finish();
        assert_eq!(bits.bytes, [0xff, 0x00, 0x7f]);
    }
}

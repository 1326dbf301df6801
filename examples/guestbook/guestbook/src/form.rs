//! What a browser sends of a form: `application/x-www-form-urlencoded`.

use std::collections::BTreeMap;

/// The fields, by their names; of several with one name the last.
pub fn parse(body: &[u8]) -> BTreeMap<String, String> {
    let fields = body.split(|byte| *byte == b'&');
    let pair = |field: &[u8]| {
        let at = field
            .iter()
            .position(|byte| *byte == b'=')
            .unwrap_or(field.len());
        let (name, value) = field.split_at(at);
        (decode(name), decode(value.get(1..).unwrap_or_default()))
    };
    fields.map(pair).collect()
}

fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => match hex(after) {
                Some(byte) => {
                    rest = &after[2..];
                    byte
                }
                None => b'%',
            },
            byte => *byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..2)?).ok()?;
    u8::from_str_radix(digits, 16)
        .ok()
        .filter(|_| !digits.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let form = parse(b"a=1&b=x+y%26%3D&c&a=2&d=%zz%4");
        assert_eq!(form["a"], "2");
        assert_eq!(form["b"], "x y&=");
        assert_eq!(form["c"], "");
        assert_eq!(form["d"], "%zz%4");
    }
}

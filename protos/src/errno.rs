//! The WASI preview 1 error numbers that Embly answers with.
//!
//! Source: `wasi_snapshot_preview1.witx`, `$errno`.

use std::fmt;

/// A WASI errno.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub u16);

macro_rules! table {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal;)*) => {
        impl Errno {
            $($(#[doc = $doc])+ pub const $name: Self = Self($number);)*

            /// Every number that Embly uses.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it says, as a sentence, or `None` for a number that Embly does not use.
            pub const fn meaning(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(concat!($($doc),+).trim_ascii()),)*
                    _ => None,
                }
            }

            /// The name, as `EAGAIN`, or `None` for a number that Embly does not use.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(table!(@name $name)),)*
                    _ => None,
                }
            }
        }
    };
    // The one whose name cannot begin with a digit here.
    (@name TOOBIG) => { "E2BIG" };
    (@name $name:ident) => { concat!("E", stringify!($name)) };
}

table! {
    /// No error.
    SUCCESS = 0;
    /// Arguments or options that are too long.
    TOOBIG = 1;
    /// Not permitted by the project file.
    ACCES = 2;
    /// Nothing there yet, or no room: try again.
    AGAIN = 6;
    /// No such file descriptor or stream.
    BADF = 8;
    /// The name is taken.
    EXIST = 20;
    /// The call was interrupted.
    INTR = 27;
    /// A value out of range.
    INVAL = 28;
    /// It could not be read or written.
    IO = 29;
    /// A text that is not UTF-8.
    ILSEQ = 25;
    /// A name that is too long.
    NAMETOOLONG = 37;
    /// Nothing of that name.
    NOENT = 44;
    /// No room left on what it is kept on.
    NOSPC = 51;
    /// Embly does not offer this call.
    NOSYS = 52;
    /// Not supported by this descriptor.
    NOTSUP = 58;
    /// Not permitted.
    PERM = 63;
    /// The other side has ended.
    PIPE = 64;
    /// A descriptor that has no position.
    SPIPE = 70;
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

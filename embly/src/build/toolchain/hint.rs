//! What to type where Embly cannot install the target itself.

/// The wasm target's package, by distribution.
pub(super) fn packages() -> &'static str {
    "hint: install it in one of these ways
  rustup:          rustup target add wasm32-wasip1
  Debian, Ubuntu:  apt install libstd-rust-dev-wasm32   (with the distribution's own rustc)
  Fedora:          dnf install rust-std-static-wasm32-wasip1
  Arch:            pacman -S rust-wasm
  Alpine:          apk add rust-wasm"
}

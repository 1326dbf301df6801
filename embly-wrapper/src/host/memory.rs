//! The guest's memory, checked at every access.
//!
//! Traps: each function here ends the guest when a pointer or a length is outside its memory.

use wasmtime::{Error, Extern, bail, format_err};

use super::{Guest, Invocation};

/// The guest's memory and what belongs to the invocation, side by side.
///
/// # Errors
/// When the module exports no memory.
pub fn split<'a>(guest: &'a mut Guest<'_>) -> wasmtime::Result<(&'a mut [u8], &'a mut Invocation)> {
    let memory = match guest.data().memory {
        Some(memory) => memory,
        // A start section calls before there is a whole instance.
        None => {
            let Some(memory) = guest.get_export("memory").and_then(Extern::into_memory) else {
                bail!("a host call needs the guest's memory, but the module exports no `memory`");
            };
            guest.data_mut().memory = Some(memory);
            memory
        }
    };
    let (bytes, host) = memory.data_and_store_mut(guest);
    Ok((bytes, host.invocation()?))
}

/// The bytes at a pointer.
///
/// # Errors
/// Outside the memory.
pub fn slice(memory: &[u8], pointer: i32, length: i32) -> wasmtime::Result<&[u8]> {
    range(pointer, length)
        .and_then(|range| memory.get(range))
        .ok_or_else(|| outside(pointer, length))
}

/// The bytes at a pointer, to write.
///
/// # Errors
/// Outside the memory.
pub fn slice_mut(memory: &mut [u8], pointer: i32, length: i32) -> wasmtime::Result<&mut [u8]> {
    range(pointer, length)
        .and_then(|range| memory.get_mut(range))
        .ok_or_else(|| outside(pointer, length))
}

/// Writes a little-endian value, as its bytes.
///
/// # Errors
/// Outside the memory.
pub fn put<const N: usize>(
    memory: &mut [u8],
    pointer: i32,
    bytes: [u8; N],
) -> wasmtime::Result<()> {
    let length = i32::try_from(N).map_err(|_| outside(pointer, i32::MAX))?;
    slice_mut(memory, pointer, length)?.copy_from_slice(&bytes);
    Ok(())
}

/// Reads a little-endian value, as its bytes.
///
/// # Errors
/// Outside the memory.
pub fn get<const N: usize>(memory: &[u8], pointer: i32) -> wasmtime::Result<[u8; N]> {
    let length = i32::try_from(N).map_err(|_| outside(pointer, i32::MAX))?;
    let mut bytes = [0; N];
    bytes.copy_from_slice(slice(memory, pointer, length)?);
    Ok(bytes)
}

/// The pointer `offset` bytes further.
///
/// # Errors
/// Outside of 32 bits.
pub fn offset(pointer: i32, offset: u32) -> wasmtime::Result<i32> {
    pointer
        .cast_unsigned()
        .checked_add(offset)
        .map(u32::cast_signed)
        .ok_or_else(|| outside(pointer, offset.cast_signed()))
}

fn range(pointer: i32, length: i32) -> Option<std::ops::Range<usize>> {
    let start = pointer.cast_unsigned() as usize;
    Some(start..start.checked_add(length.cast_unsigned() as usize)?)
}

fn outside(pointer: i32, length: i32) -> Error {
    format_err!(
        "a host call was given a bad pointer: {} bytes at {:#x} are outside the guest's memory",
        length.cast_unsigned(),
        pointer.cast_unsigned()
    )
}

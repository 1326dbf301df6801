//! The one configuration of the engine.
//!
//! Compiler and loader must agree on every setting, or an artefact is refused. So all are
//! set here, none is left to a default that could follow a cargo feature.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};

use crate::limits::MAX_TABLE_ELEMENTS;

/// Native stack that a function may use, in bytes.
pub const GUEST_STACK: usize = 1 << 20;

/// Address space reserved for a linear memory, in bytes: all that 32-bit code can name, so
/// that no bounds check is needed.
const MEMORY_RESERVATION: u64 = 4 << 30;

/// Unmapped bytes behind it, which catch constant offsets.
const MEMORY_GUARD: u64 = 32 << 20;

/// Frames of a backtrace that are kept: below a panic's own, enough to see where a program was.
pub const FRAMES: usize = 48;

/// Bytes of a table that are written with zeros for the next instance, instead of given back to
/// the kernel and faulted in again: more than the table of a common program has.
const TABLE_KEPT: usize = 16 << 10;

/// An engine for the compiler, and for modules of any shape: each instance gets a mapping of its own.
///
/// # Errors
/// When the machine cannot run native code of this engine.
pub fn engine() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// An engine for a fork server whose processes serve several invocations.
///
/// The memory and the table of its one instance are reserved beforehand, so that a process that
/// serves again empties them, instead of mapping others. Modules of several memories or tables, or
/// of very many globals or functions, do not fit, and are refused when they are loaded.
///
/// # Errors
/// When the machine cannot run native code of this engine.
pub fn for_one_instance() -> wasmtime::Result<Engine> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(room_for_one()));
    Engine::new(&config)
}

fn room_for_one() -> PoolingAllocationConfig {
    let mut room = PoolingAllocationConfig::new();
    room.total_core_instances(1)
        .total_memories(1)
        .max_memories_per_module(1)
        .total_tables(1)
        .max_tables_per_module(1)
        .table_elements(MAX_TABLE_ELEMENTS)
        .table_keep_resident(TABLE_KEPT)
        // A program's stack and data lie behind much that it never touches: what was touched is
        // given back in one call.
        .linear_memory_keep_resident(0)
        .max_memory_size(usize::try_from(MEMORY_RESERVATION).unwrap_or(usize::MAX));
    room
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .parallel_compilation(true)
        // Limits on CPU time end a guest at its next loop or call.
        .epoch_interruption(true)
        .consume_fuel(false)
        .max_wasm_stack(GUEST_STACK)
        .memory_reservation(MEMORY_RESERVATION)
        .memory_guard_size(MEMORY_GUARD)
        .memory_may_move(false)
        .guard_before_linear_memory(true)
        .memory_init_cow(true)
        .signals_based_traps(true)
        // For the log: costs a tenth of an artefact, and nothing as long as nobody traps.
        .wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES))
        .generate_address_map(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .native_unwind_info(false)
        .debug_info(false)
        // What compilers emit today.
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_simd(true)
        .wasm_extended_const(true)
        .wasm_tail_call(true)
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(false);
    config
}

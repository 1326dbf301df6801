//! What the host offers, as `embly-wrapper/src/link.rs` has it. Where the two differ, the modules are not
//! compiled, and `embly/tests/modules.rs` says so.

use wasm_encoder::{Instruction, ValType};

use crate::dice::Dice;

const EMBLY: &str = "embly";
const WASI: &str = "wasi_snapshot_preview1";

/// A host call: the module and the name that it is imported from, and a letter for each parameter: what
/// programs have there. `T` has 64 bits, all others 32. All but `proc_exit` return 32 bits.
#[derive(Clone, Copy)]
pub struct Call(pub &'static str, pub &'static str, &'static str);

pub const CALLS: &[Call] = &[
    Call(EMBLY, "_read", "dolo"),
    Call(EMBLY, "_write", "dplo"),
    Call(EMBLY, "_close", "d"),
    Call(EMBLY, "_events", "nTnolo"),
    Call(EMBLY, "_status", "dooolo"),
    Call(EMBLY, "_spawn", "plo"),
    Call(EMBLY, "_spawn_with", "plo"),
    Call(EMBLY, "_kill", "d"),
    Call(EMBLY, "_register", "pl"),
    Call(EMBLY, "_unregister", "pl"),
    Call(EMBLY, "_lookup", "plo"),
    Call(EMBLY, "_monitor", "d"),
    Call(EMBLY, "_log", "spl"),
    Call(WASI, "args_get", "oo"),
    Call(WASI, "args_sizes_get", "oo"),
    Call(WASI, "environ_get", "oo"),
    Call(WASI, "environ_sizes_get", "oo"),
    Call(WASI, "clock_res_get", "no"),
    Call(WASI, "clock_time_get", "nTo"),
    Call(WASI, "random_get", "ol"),
    Call(WASI, "sched_yield", ""),
    Call(WASI, "proc_exit", "n"),
    Call(WASI, "poll_oneoff", "pono"),
    Call(WASI, "fd_write", "dpno"),
    Call(WASI, "fd_read", "dpno"),
    Call(WASI, "fd_close", "d"),
    Call(WASI, "fd_seek", "dTno"),
    Call(WASI, "fd_fdstat_get", "do"),
    // Of those that are not offered some: they are one and the same code.
    Call(WASI, "fd_readdir", "dolTo"),
    Call(WASI, "path_open", "dnplnTTno"),
    Call(WASI, "sock_send", "dpnno"),
];

impl Call {
    pub fn by_name(name: &str) -> Option<Self> {
        CALLS.iter().copied().find(|call| call.1 == name)
    }

    pub fn parameters(self) -> Vec<ValType> {
        self.2.chars().map(of_type).collect()
    }

    /// Instructions that bring the parameters: mostly such as programs have.
    pub fn arguments(self, dice: &mut Dice) -> Vec<Instruction<'static>> {
        let arguments = self.2.chars().map(|letter| {
            let value = match dice.one_in(200) {
                true => dice.next().cast_signed(),
                false => value(letter, dice),
            };
            match of_type(letter) {
                ValType::I64 => Instruction::I64Const(value),
                _ => Instruction::I32Const(value as i32),
            }
        });
        arguments.collect()
    }

    pub fn results(self) -> &'static [ValType] {
        match self.1 {
            "proc_exit" => &[],
            _ => &[ValType::I32],
        }
    }
}

/// Where [`Call::arguments`] point to: a name of a function, and a list of one piece of memory, the name.
pub const NAME: (i32, i64) = (16, i64::from_le_bytes(*b"hello\0\0\0"));
pub const LIST: (i32, i64) = (0, 16 | 5 << 32);

fn of_type(letter: char) -> ValType {
    match letter {
        'T' => ValType::I64,
        _ => ValType::I32,
    }
}

fn value(letter: char, dice: &mut Dice) -> i64 {
    match letter {
        // A stream, or a descriptor.
        'd' => dice.of(&[0, 1, 1, 1, 2, 2, 3, 4]),
        // What is read from, and what is written to.
        'p' => dice.of(&[0, 0, 16, 16, 16, 20, 264]),
        'o' => 256 + 8 * dice.below(32) as i64,
        'l' => dice.of(&[0, 1, 3, 5, 5, 5, 8, 100, 20_000]),
        // How severe.
        's' => dice.of(&[3, 4, 6, 7, 5]),
        // A number, a flag, a time.
        'n' => dice.of(&[0, 1, 1, 1, 2, 3]),
        'T' => dice.of(&[0, 0, 1, 1_000_000]),
        other => unreachable!("no parameter has the letter {other}"),
    }
}

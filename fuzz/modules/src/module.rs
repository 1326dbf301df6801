//! One module, made of its seed.

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, ImportSection, Instruction,
    MemArg, MemArgTarget, MemorySection, MemoryType, Module, TypeSection,
};
use wasm_smith::{Config, InstructionKind, InstructionKinds};
use wasmparser::{FunctionBody, Operator, Parser, Payload};

use crate::calls::{CALLS, Call, LIST, NAME};
use crate::dice::Dice;

/// Pages of memory that are more than `embly/tests/modules.rs` allows, of 64 KiB each.
const TOO_MANY_PAGES: u64 = 1025;

/// Loops and calls of one that is to end; one that is not runs until the limit `cpu`.
const FUEL: u32 = 10_000;

/// Bytes that modules are made of. The last function, `_start`, has what the others have left.
const MADE_OF: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 64 << 10];

/// The module of this seed: valid, but for one in 32, and with `_start`.
pub fn module(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    loop {
        let made_of = dice.of(&MADE_OF);
        let bytes = dice.bytes(made_of);
        let (config, plain) = config(&mut dice);
        let calm = config.disallow_traps;
        // There are bytes enough, or they are taken for 0; what it cannot make of them it says.
        let Ok(mut made) =
            wasm_smith::Module::new(config, &mut arbitrary::Unstructured::new(&bytes))
        else {
            continue;
        };
        let ends = !dice.one_in(16);
        if ends && plain {
            made.ensure_termination(FUEL)
                .expect("all functions were generated");
        }
        let made = made.to_bytes();
        if !plain {
            return made;
        }
        return with_calls(&made, dice, !calm);
    }
}

/// What is to be made, and whether that is valid for the engine.
fn config(dice: &mut Dice) -> (Config, bool) {
    let config = Config {
        available_imports: Some(imports(dice)),
        exports: Some(exports(dice)),
        allowed_instructions: instructions(dice),
        disallow_traps: dice.one_in(2),
        // What is imported counts as well.
        max_funcs: CALLS.len() + 1 + dice.below(6) as usize,
        max_instructions: dice.of(&[20, 100, 100, 400]),
        max_data_segments: 5,
        max_element_segments: 5,
        // Beside the one for host calls.
        max_memories: dice.of(&[0, 0, 0, 1, 2]),
        max_memory32_bytes: dice.of(&[1 << 20, 1 << 20, 128 << 20]),
        allow_start_export: dice.one_in(6),
        generate_custom_sections: dice.one_in(8),
        // What the engine takes, and nothing else.
        bulk_memory_enabled: true,
        extended_const_enabled: true,
        multi_value_enabled: true,
        relaxed_simd_enabled: true,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        simd_enabled: true,
        tail_call_enabled: true,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        reference_types_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    };
    match dice.below(32) {
        // Bytes that need not be code.
        0 => (
            Config {
                allow_invalid_funcs: true,
                ..config
            },
            false,
        ),
        // Proposals that the engine does not take.
        1 => (
            Config {
                exceptions_enabled: true,
                gc_enabled: true,
                memory64_enabled: true,
                reference_types_enabled: true,
                threads_enabled: true,
                wide_arithmetic_enabled: true,
                ..config
            },
            false,
        ),
        _ => (config, true),
    }
}

/// All instructions, or only some kinds: what is rare among all is frequent among few.
fn instructions(dice: &mut Dice) -> InstructionKinds {
    const KINDS: [InstructionKind; 8] = [
        InstructionKind::Numeric,
        InstructionKind::Vector,
        InstructionKind::Parametric,
        InstructionKind::Variable,
        InstructionKind::Table,
        InstructionKind::Memory,
        InstructionKind::Reference,
        InstructionKind::Control,
    ];
    if dice.one_in(2) {
        return InstructionKinds::all();
    }
    let mut kinds = vec![InstructionKind::Control, InstructionKind::NumericInt];
    kinds.extend(KINDS.into_iter().filter(|_| dice.one_in(3)));
    InstructionKinds::new(&kinds)
}

/// A module that imports some of what the host offers; half of that is taken.
fn imports(dice: &mut Dice) -> Vec<u8> {
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    let most = dice.of(&[1, 12, 40]);
    for at in 0..4 + dice.below(most) as u32 {
        let call = dice.of(CALLS);
        let results = call.results().iter().copied();
        types.ty().function(call.parameters(), results);
        imports.import(call.0, call.1, wasm_encoder::EntityType::Function(at));
    }
    let mut module = Module::new();
    module.section(&types).section(&imports);
    module.finish()
}

/// A module that exports `_start`, which takes and returns nothing, and mostly its memory, for host calls.
fn exports(dice: &mut Dice) -> Vec<u8> {
    let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
    let (mut memories, mut exports) = (MemorySection::new(), ExportSection::new());
    let mut code = CodeSection::new();
    types.ty().function([], []);
    functions.function(0);
    let mut empty = Function::new([]);
    empty.instruction(&Instruction::End);
    code.function(&empty);
    if !dice.one_in(16) {
        let minimum = match dice.one_in(24) {
            true => TOO_MANY_PAGES,
            false => dice.of(&[1, 1, 1, 2, 17]),
        };
        let more = dice.of(&[0, 1, 16, 2000]);
        memories.memory(MemoryType {
            minimum,
            maximum: dice.one_in(2).then_some(minimum + more),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        exports.export("memory", ExportKind::Memory, 0);
    }
    exports.export("_start", ExportKind::Func, 0);
    let mut module = Module::new();
    module.section(&types).section(&functions);
    module.section(&memories).section(&exports).section(&code);
    module.finish()
}

/// The same module, with host calls between its instructions whose parameters are such as programs have:
/// those of chance alone lie outside of the memory. With `narrow` the constants of most modules become
/// small as well.
fn with_calls(made: &[u8], mut dice: Dice, narrow: bool) -> Vec<u8> {
    let mut calls = Vec::new();
    let (mut start, mut memory) = (None, None);
    for payload in Parser::new(0).parse_all(made) {
        match payload.expect("it was just written") {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let name = import.expect("it was just written").name;
                    calls.push(Call::by_name(name).expect("there is nothing else to import"));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.expect("it was just written");
                    match export.name {
                        "_start" => start = Some(export.index),
                        "memory" => memory = Some(export.index),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let start = start.expect("it was asked for") - calls.len() as u32;
    let mut around = Around {
        start,
        body: 0,
        memory,
        narrow: narrow && !dice.one_in(4),
        // One in so many instructions has a host call in front of it.
        every: dice.of(&[4, 16, 64]),
        calls,
        dice,
    };
    let mut module = Module::new();
    around
        .parse_core_module(&mut module, Parser::new(0), made)
        .expect("it was just written");
    module.finish()
}

/// Writes a module anew.
struct Around {
    dice: Dice,
    /// The host calls that it imports.
    calls: Vec<Call>,
    /// The memory that it exports.
    memory: Option<u32>,
    /// Which body is that of `_start`, and which is the next one.
    start: u32,
    body: u32,
    narrow: bool,
    every: u64,
}

impl Around {
    /// What comes first of all.
    fn begin(&mut self, function: &mut Function) {
        if let Some(memory) = self.memory {
            for (at, value) in [NAME, LIST] {
                function
                    .instruction(&Instruction::I32Const(at))
                    .instruction(&Instruction::I64Const(value))
                    .instruction(&Instruction::I64Store(MemArg {
                        offset: 0,
                        align: 0,
                        target: MemArgTarget::Memory(memory),
                        ordering: None,
                    }));
            }
        }
        for _ in 0..self.dice.below(8) {
            self.call(function);
        }
    }

    /// Leaves the stack as it was.
    fn call(&mut self, function: &mut Function) {
        if self.calls.is_empty() {
            return;
        }
        let at = self.dice.below(self.calls.len() as u64) as usize;
        let call = self.calls[at];
        // Nothing comes behind them.
        let last = ["_events", "poll_oneoff", "proc_exit"].contains(&call.1);
        if last && !self.dice.one_in(3) {
            return;
        }
        let arguments = call.arguments(&mut self.dice);
        // What has come already is no event any more when the same is called again.
        for _ in 0..self.dice.of(&[1, 1, 1, 3]) {
            for argument in &arguments {
                function.instruction(argument);
            }
            function.instruction(&Instruction::Call(at as u32));
            for _ in call.results() {
                function.instruction(&Instruction::Drop);
            }
        }
    }
}

impl Reencode for Around {
    type Error = std::convert::Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        if self.body == self.start {
            self.begin(&mut function);
        }
        self.body += 1;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            if self.dice.one_in(self.every) {
                self.call(&mut function);
            }
            let instruction = match reader.read()? {
                Operator::I32Const { value } if self.narrow => {
                    Instruction::I32Const(value & 0xffff)
                }
                other => self.instruction(other)?,
            };
            function.instruction(&instruction);
        }
        code.function(&function);
        Ok(())
    }
}

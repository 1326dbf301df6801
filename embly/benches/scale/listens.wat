;; A WebSocket that says one word, and waits until the client has left.
(module
  (import "embly" "_events" (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (import "embly" "_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; Text, two bytes.
  (data (i32.const 0) "\01\02\00\00\00hi")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 7) (i32.const 16)))
    (loop $next
      (drop (call $events (i32.const 0) (i64.const 0) (i32.const 0)
        (i32.const 32) (i32.const 8) (i32.const 16)))
      ;; Success with 0 bytes is the end.
      (br_if $next (call $read (i32.const 1) (i32.const 1024) (i32.const 4096) (i32.const 16)))
      (br_if $next (i32.load (i32.const 16))))))

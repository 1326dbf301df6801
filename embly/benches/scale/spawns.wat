;; Reads a number (u32), starts so many of `waits`, and says when each is there or refused: three
;; u32, little-endian: how many are there, how many are not, the code of the last that is not. Ends
;; when nobody has any more to say.
(module
  (import "embly" "_spawn" (func $spawn (param i32 i32 i32) (result i32)))
  (import "embly" "_events" (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (import "embly" "_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_status" (func $status (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "waits")
  (global $there i32 (i32.const 512))
  (global $refused i32 (i32.const 516))
  (global $code i32 (i32.const 520))
  (global $want (mut i32) (i32.const 0))
  (global $asked (mut i32) (i32.const 0))
  (global $told (mut i32) (i32.const 0))
  (func $one_more (param $at i32)
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1))))
  (func $ask (local $error i32)
    (global.set $asked (i32.add (global.get $asked) (i32.const 1)))
    (local.set $error (call $spawn (i32.const 0) (i32.const 5) (i32.const 16)))
    (if (local.get $error) (then
      (i32.store (global.get $code) (local.get $error))
      (call $one_more (global.get $refused)))))
  ;; Whether that was the end of the stream from the client.
  (func $look (param $id i32) (result i32)
    (if (call $read (local.get $id) (i32.const 1024) (i32.const 4) (i32.const 16)) (then
      (return (i32.const 0))))
    (if (i32.eq (local.get $id) (i32.const 1)) (then
      (global.set $want (i32.load (i32.const 1024)))
      (return (i32.eqz (i32.load (i32.const 16))))))
    (if (i32.load (i32.const 16)) (then
      (call $one_more (global.get $there))
      (return (i32.const 0))))
    (if (i32.eqz (call $status (local.get $id) (i32.const 20) (global.get $code)
        (i32.const 1024) (i32.const 0) (i32.const 16)))
      (then (call $one_more (global.get $refused))))
    (i32.const 0))
  (func (export "_start") (local $at i32) (local $end i32)
    (loop $next
      (if (i32.lt_u (global.get $asked) (global.get $want)) (then (call $ask)))
      (drop (call $events
        (i32.lt_u (global.get $asked) (global.get $want)) (i64.const 0) (i32.const 0)
        (i32.const 32) (i32.const 64) (i32.const 24)))
      (local.set $at (i32.const 32))
      (local.set $end
        (i32.add (i32.const 32) (i32.mul (i32.const 4) (i32.load (i32.const 24)))))
      (loop $ids
        (if (i32.lt_u (local.get $at) (local.get $end)) (then
          (if (call $look (i32.load (local.get $at))) (then (return)))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (br $ids))))
      (if (i32.eqz (global.get $told)) (then
        (if (i32.and (i32.gt_u (global.get $want) (i32.const 0))
            (i32.eq (global.get $want) (i32.add (i32.load (global.get $there)) (i32.load (global.get $refused)))))
          (then
            (global.set $told (i32.const 1))
            (drop (call $write (i32.const 1) (i32.const 512) (i32.const 12) (i32.const 16)))))))
      (br $next))))

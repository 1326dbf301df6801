;; What the benchmark `spawn` measures with: a parent that times what it does with its children, and
;; the children. Each has an entry of its own. Anything unexpected traps.
(module
  (import "embly" "_read" (func $_read (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $_write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_close" (func $_close (param i32) (result i32)))
  (import "embly" "_spawn" (func $_spawn (param i32 i32 i32) (result i32)))
  (import "embly" "_events"
    (func $_events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))

  ;; 0: a count that a call returns; 4: the id of an event; 8: a time; 16: the order; 4096: bytes to
  ;; send and to receive; 2 MiB: the times.
  (memory (export "memory") 64)
  (global $parent i32 (i32.const 1))
  (global $again i32 (i32.const 6))
  (global $order i32 (i32.const 16))
  (global $bytes i32 (i32.const 4096))
  (global $times i32 (i32.const 0x200000))

  (func $must (param $holds i32)
    (if (i32.eqz (local.get $holds)) (then unreachable)))

  ;; Nanoseconds.
  (func $now (result i64)
    (call $must (i32.eqz (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 8))))
    (i64.load (i32.const 8)))

  ;; Until something happens, at most so many nanoseconds; 0: without limit.
  (func $wait (param $nanos i32)
    (call $must (i32.eqz (call $_events
      (i32.const 0) (i64.const 0) (local.get $nanos) (i32.const 4) (i32.const 1) (i32.const 0)))))

  (func $sleep (param $nanos i64)
    (local $until i64) (local $left i64)
    (local.set $until (i64.add (call $now) (local.get $nanos)))
    (loop $more
      (local.set $left (i64.sub (local.get $until) (call $now)))
      (if (i64.gt_s (local.get $left) (i64.const 0))
        (then (call $wait (i32.wrap_i64 (local.get $left))) (br $more)))))

  ;; What has arrived, at most so much; waits for the first byte. 0 at the end.
  (func $read (param $id i32) (param $to i32) (param $length i32) (result i32)
    (local $errno i32)
    (loop $more
      (local.set $errno
        (call $_read (local.get $id) (local.get $to) (local.get $length) (i32.const 0)))
      (if (i32.eq (local.get $errno) (global.get $again))
        (then (call $wait (i32.const 0)) (br $more))))
    (call $must (i32.eqz (local.get $errno)))
    (i32.load (i32.const 0)))

  (func $read_exact (param $id i32) (param $to i32) (param $length i32)
    (local $n i32)
    (loop $more
      (if (local.get $length)
        (then
          (local.set $n (call $read (local.get $id) (local.get $to) (local.get $length)))
          (call $must (local.get $n))
          (local.set $to (i32.add (local.get $to) (local.get $n)))
          (local.set $length (i32.sub (local.get $length) (local.get $n)))
          (br $more)))))

  (func $write_all (param $id i32) (param $from i32) (param $length i32)
    (local $errno i32) (local $n i32)
    (loop $more
      (if (local.get $length)
        (then
          (local.set $errno
            (call $_write (local.get $id) (local.get $from) (local.get $length) (i32.const 0)))
          (if (i32.eq (local.get $errno) (global.get $again))
            (then (call $wait (i32.const 0)) (br $more)))
          (call $must (i32.eqz (local.get $errno)))
          (local.set $n (i32.load (i32.const 0)))
          (local.set $from (i32.add (local.get $from) (local.get $n)))
          (local.set $length (i32.sub (local.get $length) (local.get $n)))
          (br $more)))))

  ;; So many bytes, in writes of `size`.
  (func $write_many (param $id i32) (param $count i64) (param $size i32)
    (local $next i32)
    (loop $more
      (if (i64.ne (local.get $count) (i64.const 0))
        (then
          (local.set $next (local.get $size))
          (if (i64.lt_u (local.get $count) (i64.extend_i32_u (local.get $size)))
            (then (local.set $next (i32.wrap_i64 (local.get $count)))))
          (call $write_all (local.get $id) (global.get $bytes) (local.get $next))
          (local.set $count (i64.sub (local.get $count) (i64.extend_i32_u (local.get $next))))
          (br $more)))))

  ;; All that comes until the end; how much that was.
  (func $drain (param $id i32) (param $size i32) (result i64)
    (local $n i32) (local $sum i64)
    (loop $more
      (local.set $n (call $read (local.get $id) (global.get $bytes) (local.get $size)))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $n))))
      (br_if $more (local.get $n)))
    (local.get $sum))

  ;; A child of the name that stands in the order.
  (func $spawn (result i32)
    (call $must (i32.eqz (call $_spawn
      (i32.const 48) (i32.load (i32.const 44)) (i32.const 0))))
    (i32.load (i32.const 0)))

  ;; The parent. The order, from its client: what to do (i32), how often (i32), how often in a row
  ;; (i32), bytes of a write (i32), bytes in all (i64), a pause after each row in ns (i32), the name
  ;; of the child with its length (i32). The answer: what each took, in nanoseconds (i64).
  (func (export "_start")
    (local $n i32) (local $began i64) (local $id i32)
    (call $read_exact (global.get $parent) (global.get $order) (i32.const 32))
    (call $read_exact (global.get $parent) (i32.const 48) (i32.load (i32.const 44)))
    ;; Round trips have one child for all of them.
    (if (i32.eq (i32.load (i32.const 16)) (i32.const 1)) (then (local.set $id (call $spawn))))
    (loop $more
      (local.set $began (call $now))
      (block $done (block $receive (block $send (block $trip (block $child
        (br_table $child $trip $send $receive (i32.load (i32.const 16))))
          ;; 0: spawn, and its first byte.
          (local.set $id (call $spawn))
          (call $read_exact (local.get $id) (global.get $bytes) (i32.const 1))
          (call $took (local.get $n) (local.get $began))
          (call $must (i64.eqz (call $drain (local.get $id) (i32.const 1))))
          (br $done))
        ;; 1: there and back.
        (call $write_all (local.get $id) (global.get $bytes) (i32.load (i32.const 28)))
        (call $read_exact (local.get $id) (global.get $bytes) (i32.load (i32.const 28)))
        (call $took (local.get $n) (local.get $began))
        (br $done))
      ;; 2: all to the child, which says when it has it.
      (local.set $id (call $spawn))
      (call $read_exact (local.get $id) (global.get $bytes) (i32.const 1))
      (local.set $began (call $now))
      (call $write_many (local.get $id) (i64.load (i32.const 32)) (i32.load (i32.const 28)))
      (call $must (i32.eqz (call $_close (local.get $id))))
      (call $must (i64.eq (call $drain (local.get $id) (i32.const 1)) (i64.const 1)))
      (call $took (local.get $n) (local.get $began))
      (br $done))
      ;; 3: all from the child, which is told how much.
      (local.set $id (call $spawn))
      (call $read_exact (local.get $id) (global.get $bytes) (i32.const 1))
      (local.set $began (call $now))
      (call $write_all (local.get $id) (i32.const 28) (i32.const 12))
      (call $must (i64.eq
        (call $drain (local.get $id) (i32.load (i32.const 28))) (i64.load (i32.const 32))))
      (call $took (local.get $n) (local.get $began)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (if (i32.eqz (i32.rem_u (local.get $n) (i32.load (i32.const 24))))
        (then (call $sleep (i64.load32_u (i32.const 40)))))
      (br_if $more (i32.lt_u (local.get $n) (i32.load (i32.const 20)))))
    (call $write_all (global.get $parent) (global.get $times)
      (i32.mul (i32.load (i32.const 20)) (i32.const 8))))

  (func $took (param $n i32) (param $began i64)
    (i64.store
      (i32.add (global.get $times) (i32.mul (local.get $n) (i32.const 8)))
      (i64.sub (call $now) (local.get $began))))

  ;; Says one byte, and ends.
  (func (export "answers")
    (call $write_all (global.get $parent) (global.get $bytes) (i32.const 1)))

  ;; Gives back what comes.
  (func (export "echoes")
    (local $n i32)
    (loop $more
      (local.set $n (call $read (global.get $parent) (global.get $bytes) (i32.const 0x10000)))
      (if (local.get $n)
        (then
          (call $write_all (global.get $parent) (global.get $bytes) (local.get $n))
          (br $more)))))

  ;; Says that it is there, takes all that comes, and says that it has it.
  (func (export "takes")
    (call $write_all (global.get $parent) (global.get $bytes) (i32.const 1))
    (drop (call $drain (global.get $parent) (i32.const 0x100000)))
    (call $write_all (global.get $parent) (global.get $bytes) (i32.const 1)))

  ;; Says that it is there, and gives as much as it is told (i64), in writes of so many bytes (i32).
  (func (export "gives")
    (call $write_all (global.get $parent) (global.get $bytes) (i32.const 1))
    (call $read_exact (global.get $parent) (global.get $order) (i32.const 12))
    (call $write_many
      (global.get $parent) (i64.load (i32.const 20)) (i32.load (i32.const 16)))))

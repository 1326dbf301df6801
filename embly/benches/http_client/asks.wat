;; What the benchmark `http-client` measures with: a function that asks the same again and again and
;; times each time from the call to the end of the response. Anything unexpected traps.
(module
  (import "embly" "_read" (func $_read (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $_write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_spawn" (func $_spawn (param i32 i32 i32) (result i32)))
  (import "embly" "_events"
    (func $_events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (import "embly" "_status"
    (func $_status (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))

  ;; 0: a count that a call returns; 4: the id of an event; 8: a time; 16: the order; 4096: the request;
  ;; 64 KiB: the response; 2 MiB: the times.
  (memory (export "memory") 64)
  (global $again i32 (i32.const 6))
  (data (i32.const 64) "embly/http")

  (func $must (param $holds i32)
    (if (i32.eqz (local.get $holds)) (then unreachable)))

  (func $now (result i64)
    (call $must (i32.eqz (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 8))))
    (i64.load (i32.const 8)))

  (func $wait (param $nanos i32)
    (call $must (i32.eqz (call $_events
      (i32.const 0) (i64.const 0) (local.get $nanos) (i32.const 4) (i32.const 1) (i32.const 0)))))

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

  ;; Reads to the end, which must be a good one.
  (func $drain (param $id i32)
    (loop $more
      (br_if $more (call $read (local.get $id) (i32.const 0x10000) (i32.const 0x10000))))
    (call $must (i32.eqz (call $_status
      (local.get $id) (i32.const 16) (i32.const 20) (i32.const 0x10000) (i32.const 4096) (i32.const 0))))
    (call $must (i32.eqz (i32.load (i32.const 16)))))

  ;; The order, from its client: how often (i32), the length of the request (i32), the request as it is
  ;; written to the service. The answer: what each took, in nanoseconds (i64).
  (func (export "_start")
    (local $count i32) (local $length i32) (local $at i32) (local $began i64) (local $id i32)
    (call $read_exact (i32.const 1) (i32.const 16) (i32.const 8))
    (local.set $count (i32.load (i32.const 16)))
    (local.set $length (i32.load (i32.const 20)))
    (call $read_exact (i32.const 1) (i32.const 4096) (local.get $length))
    (local.set $at (i32.const 0x200000))
    (loop $more
      (local.set $began (call $now))
      (call $must (i32.eqz (call $_spawn (i32.const 64) (i32.const 10) (i32.const 0))))
      (local.set $id (i32.load (i32.const 0)))
      (call $write_all (local.get $id) (i32.const 4096) (local.get $length))
      (call $drain (local.get $id))
      (i64.store (local.get $at) (i64.sub (call $now) (local.get $began)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br_if $more (local.get $count)))
    (call $write_all (i32.const 1)
      (i32.const 0x200000) (i32.sub (local.get $at) (i32.const 0x200000)))))

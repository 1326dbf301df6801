;; What the benchmark `sql` measures with. It is told, with u32 lengths in front of each: how often, the
;; frame that opens a store, and the frame of a statement. It answers with the time of each, in
;; nanoseconds, as u64. Anything unexpected traps.
(module
  (import "embly" "_read" (func $_read (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $_write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_spawn" (func $_spawn (param i32 i32 i32) (result i32)))
  (import "embly" "_events"
    (func $_events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))

  ;; 0: a count that a call returns; 4: the id of an event; 8: a time; 12: the id of the service;
  ;; 16: how often; 20: a length; 64: the name of the service; 4096: the frame; 65536: what is
  ;; received; 1 MiB: the times.
  (memory (export "memory") 64)
  (data (i32.const 64) "embly/sql")

  (func $must (param $holds i32)
    (if (i32.eqz (local.get $holds)) (then unreachable)))

  (func $now (result i64)
    (call $must (i32.eqz (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 24))))
    (i64.load (i32.const 24)))

  (func $wait
    (call $must (i32.eqz (call $_events
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 4) (i32.const 1) (i32.const 0)))))

  (func $read (param $id i32) (param $to i32) (param $length i32) (result i32)
    (local $errno i32)
    (loop $more
      (local.set $errno
        (call $_read (local.get $id) (local.get $to) (local.get $length) (i32.const 0)))
      (if (i32.eq (local.get $errno) (i32.const 6))
        (then (call $wait) (br $more))))
    (call $must (i32.eqz (local.get $errno)))
    (i32.load (i32.const 0)))

  (func $read_exact (param $to i32) (param $length i32)
    (local $n i32)
    (loop $more
      (if (local.get $length)
        (then
          (local.set $n (call $read (i32.const 1) (local.get $to) (local.get $length)))
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
          (if (i32.eq (local.get $errno) (i32.const 6))
            (then (call $wait) (br $more)))
          (call $must (i32.eqz (local.get $errno)))
          (local.set $n (i32.load (i32.const 0)))
          (local.set $from (i32.add (local.get $from) (local.get $n)))
          (local.set $length (i32.sub (local.get $length) (local.get $n)))
          (br $more)))))

  ;; The next frame that was told is at 4096 from now on, its length at 20.
  (func $frame
    (call $read_exact (i32.const 20) (i32.const 4))
    (call $read_exact (i32.const 4096) (i32.load (i32.const 20))))

  ;; Sends it, and takes the answer: small enough for one piece.
  (func $ask
    (call $write_all (i32.load (i32.const 12)) (i32.const 4096) (i32.load (i32.const 20)))
    (call $must (call $read (i32.load (i32.const 12)) (i32.const 65536) (i32.const 65536))))

  (func (export "_start")
    (local $left i32) (local $at i32) (local $since i64)
    (call $read_exact (i32.const 16) (i32.const 4))
    (call $must (i32.eqz (call $_spawn (i32.const 64) (i32.const 9) (i32.const 12))))
    (call $frame)
    (call $ask)
    (call $frame)
    (local.set $left (i32.load (i32.const 16)))
    (local.set $at (i32.const 0x100000))
    (loop $more
      (if (local.get $left)
        (then
          (local.set $since (call $now))
          (call $ask)
          (i64.store (local.get $at) (i64.sub (call $now) (local.get $since)))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $more))))
    (call $write_all (i32.const 1) (i32.const 0x100000)
      (i32.sub (local.get $at) (i32.const 0x100000)))))

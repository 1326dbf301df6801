;; What the benchmark `kv` measures with: a function that asks a service and times that. Anything
;; unexpected traps.
(module
  (import "embly" "_read" (func $_read (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $_write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_spawn" (func $_spawn (param i32 i32 i32) (result i32)))
  (import "embly" "_events"
    (func $_events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))

  ;; 0: a count that a call returns; 4: the id of an event; 8: a time; 16: the order; 64: what the
  ;; order is followed by; 64 KiB: what is read; 2 MiB: the times.
  (memory (export "memory") 64)
  (global $parent i32 (i32.const 1))
  (global $again i32 (i32.const 6))
  (global $bytes i32 (i32.const 0x10000))
  (global $times i32 (i32.const 0x200000))

  (func $must (param $holds i32)
    (if (i32.eqz (local.get $holds)) (then unreachable)))

  ;; Nanoseconds.
  (func $now (result i64)
    (call $must (i32.eqz (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 8))))
    (i64.load (i32.const 8)))

  (func $wait
    (call $must (i32.eqz (call $_events
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 4) (i32.const 1) (i32.const 0)))))

  ;; What has arrived, at most so much; waits for the first byte. 0 at the end.
  (func $read (param $id i32) (param $to i32) (param $length i32) (result i32)
    (local $errno i32)
    (loop $more
      (local.set $errno
        (call $_read (local.get $id) (local.get $to) (local.get $length) (i32.const 0)))
      (if (i32.eq (local.get $errno) (global.get $again))
        (then (call $wait) (br $more))))
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
            (then (call $wait) (br $more)))
          (call $must (i32.eqz (local.get $errno)))
          (local.set $n (i32.load (i32.const 0)))
          (local.set $from (i32.add (local.get $from) (local.get $n)))
          (local.set $length (i32.sub (local.get $length) (local.get $n)))
          (br $more)))))

  ;; A frame: its length, and so many bytes.
  (func $read_frame (param $id i32)
    (call $read_exact (local.get $id) (global.get $bytes) (i32.const 4))
    (call $read_exact (local.get $id) (global.get $bytes) (i32.load (global.get $bytes))))

  ;; All that comes until the end; how much that was.
  (func $drain (param $id i32) (result i32)
    (local $n i32) (local $sum i32)
    (loop $more
      (local.set $n (call $read (local.get $id) (global.get $bytes) (i32.const 0x10000)))
      (local.set $sum (i32.add (local.get $sum) (local.get $n)))
      (br_if $more (local.get $n)))
    (local.get $sum))

  ;; The order, of i32: how often; requests at once on one stream, 0: each with a call of its own;
  ;; where in the request its number is written, 0: nowhere; lengths of the name of the service, of
  ;; what its stream begins with, of the request; and these three. The answer: what each took, in
  ;; nanoseconds (i64).
  (func (export "_start")
    (local $n i32) (local $i i32) (local $began i64) (local $id i32)
    (local $opening i32) (local $request i32) (local $length i32) (local $depth i32)
    (call $read_exact (global.get $parent) (i32.const 16) (i32.const 24))
    (local.set $depth (i32.load (i32.const 20)))
    (local.set $opening (i32.add (i32.const 64) (i32.load (i32.const 28))))
    (local.set $request (i32.add (local.get $opening) (i32.load (i32.const 32))))
    (local.set $length (i32.load (i32.const 36)))
    (call $read_exact (global.get $parent) (i32.const 64)
      (i32.sub (i32.add (local.get $request) (local.get $length)) (i32.const 64)))
    (if (local.get $depth) (then
      (local.set $id (call $spawn))
      (call $write_all (local.get $id) (local.get $opening) (i32.load (i32.const 32)))))
    (loop $more
      (local.set $began (call $now))
      (if (local.get $depth)
        (then
          (local.set $i (i32.const 0))
          (loop $ask
            (if (i32.load (i32.const 24)) (then
              (i64.store (i32.add (local.get $request) (i32.load (i32.const 24)))
                (i64.extend_i32_u (i32.add
                  (i32.mul (local.get $n) (local.get $depth)) (local.get $i))))))
            (call $write_all (local.get $id) (local.get $request) (local.get $length))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $ask (i32.lt_u (local.get $i) (local.get $depth))))
          (loop $answer
            (call $read_frame (local.get $id))
            (local.set $i (i32.sub (local.get $i) (i32.const 1)))
            (br_if $answer (local.get $i))))
        (else
          (local.set $id (call $spawn))
          (call $write_all (local.get $id) (local.get $request) (local.get $length))
          (call $must (call $drain (local.get $id)))))
      (i64.store
        (i32.add (global.get $times) (i32.mul (local.get $n) (i32.const 8)))
        (i64.sub (call $now) (local.get $began)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $n) (i32.load (i32.const 16)))))
    (call $write_all (global.get $parent) (global.get $times)
      (i32.mul (local.get $n) (i32.const 8))))

  (func $spawn (result i32)
    (call $must (i32.eqz
      (call $_spawn (i32.const 64) (i32.load (i32.const 28)) (i32.const 0))))
    (i32.load (i32.const 0))))

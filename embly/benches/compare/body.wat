;; A function with a body of SIZE bytes: its own (ECHO is 0), or that of the request (1). LENGTH is
;; the number of bytes of the head; the benchmark fills the three in.
(module
  (import "embly" "_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_events" (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
  ;; Results at 0, ids that have changed at 16, the head at 64, 64 KiB of data from the second page.
  (memory (export "memory") 2)
  (data (i32.const 64) "HTTP/1.1 200 OK\0d\0acontent-length: SIZE\0d\0a\0d\0a")
  (global $parent i32 (i32.const 1))
  (global $data i32 (i32.const 65536))
  (global $again i32 (i32.const 6))

  (func $wait
    (drop (call $events
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 16) (i32.const 8) (i32.const 8))))

  (func $send (param $from i32) (param $length i32)
    (local $error i32)
    (loop $more
      (if (i32.eqz (local.get $length)) (then (return)))
      (local.set $error
        (call $write (global.get $parent) (local.get $from) (local.get $length) (i32.const 0)))
      (if (i32.eq (local.get $error) (global.get $again))
        (then (call $wait) (br $more)))
      (if (local.get $error) (then (unreachable)))
      (local.set $from (i32.add (local.get $from) (i32.load (i32.const 0))))
      (local.set $length (i32.sub (local.get $length) (i32.load (i32.const 0))))
      (br $more)))

  ;; How many bytes have come; none at the end.
  (func $receive (result i32)
    (local $error i32)
    (loop $more
      (local.set $error
        (call $read (global.get $parent) (global.get $data) (i32.const 65536) (i32.const 0)))
      (if (i32.eq (local.get $error) (global.get $again))
        (then (call $wait) (br $more)))
      (if (local.get $error) (then (unreachable))))
    (i32.load (i32.const 0)))

  (func $answer (local $left i32) (local $part i32)
    (local.set $left (i32.const SIZE))
    (local.set $part
      (select (local.get $left) (i32.const 65536) (i32.lt_u (local.get $left) (i32.const 65536))))
    (memory.fill (global.get $data) (i32.const 120) (local.get $part))
    (loop $more
      (if (i32.lt_u (local.get $left) (local.get $part))
        (then (local.set $part (local.get $left))))
      (call $send (global.get $data) (local.get $part))
      (local.set $left (i32.sub (local.get $left) (local.get $part)))
      (br_if $more (local.get $left))))

  ;; The body begins where CR LF CR LF ends, of which $seen counts the bytes: what is even waits for
  ;; CR, what is odd for LF.
  (func $echo (local $length i32) (local $at i32) (local $seen i32) (local $byte i32)
    (loop $head
      (local.set $length (call $receive))
      (if (i32.eqz (local.get $length)) (then (unreachable)))
      (local.set $at (i32.const 0))
      (block $end
        (loop $next
          (br_if $end (i32.eq (local.get $at) (local.get $length)))
          (local.set $byte (i32.load8_u (i32.add (global.get $data) (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (local.set $seen (select
            (i32.add (local.get $seen) (i32.const 1))
            (i32.eq (local.get $byte) (i32.const 13))
            (i32.eq (local.get $byte)
              (select (i32.const 10) (i32.const 13) (i32.and (local.get $seen) (i32.const 1))))))
          (br_if $next (i32.lt_u (local.get $seen) (i32.const 4)))))
      (br_if $head (i32.lt_u (local.get $seen) (i32.const 4))))
    (call $send
      (i32.add (global.get $data) (local.get $at))
      (i32.sub (local.get $length) (local.get $at)))
    (loop $body
      (local.set $length (call $receive))
      (call $send (global.get $data) (local.get $length))
      (br_if $body (local.get $length))))

  (func (export "_start")
    (call $send (i32.const 64) (i32.const LENGTH))
    (if (i32.const ECHO) (then (call $echo)) (else (call $answer)))))

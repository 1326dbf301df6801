//! What the camera sees: a ball that jumps about over a floor.

/// A picture in shades of grey, row by row, 0 is black.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

const WIDTH: usize = 160;
const HEIGHT: usize = 120;
const RADIUS: i32 = 14;
/// Where the ball's middle can be.
const ROOM: (i32, i32) = (WIDTH as i32 - 2 * RADIUS, HEIGHT as i32 - 2 * RADIUS);

/// The picture at this time, in pictures since the start.
pub fn at(time: u32) -> Picture {
    let (x, y) = (
        RADIUS + bounce(time, 7, ROOM.0),
        RADIUS + bounce(time, 5, ROOM.1),
    );
    let pixels =
        (0..WIDTH * HEIGHT).map(|at| shade((at % WIDTH) as i32 - x, (at / WIDTH) as i32 - y, at));
    Picture {
        width: WIDTH,
        height: HEIGHT,
        pixels: pixels.collect(),
    }
}

/// The shade of a point that is this far from the ball's middle.
fn shade(dx: i32, dy: i32, at: usize) -> u8 {
    let distance = dx * dx + dy * dy;
    if distance <= RADIUS * RADIUS {
        // A light from the upper left.
        let light = (dx + 5) * (dx + 5) + (dy + 5) * (dy + 5);
        return (255 - light / 3).max(90) as u8;
    }
    (30 + at / WIDTH / 2) as u8
}

/// A way there and back, again and again.
fn bounce(time: u32, step: u32, room: i32) -> i32 {
    let room = room as u32;
    let at = time.wrapping_mul(step) % (2 * room);
    at.min(2 * room - at) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ball_moves_and_stays_in_the_picture() {
        for time in 0..1000 {
            let (now, next) = (at(time), at(time + 1));
            assert_ne!(now.pixels, next.pixels);
            let bright = now.pixels.iter().filter(|it| **it >= 100).count();
            assert!(bright > 300, "at {time}: {bright}");
        }
    }
}

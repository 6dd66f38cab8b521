//! How many columns and rows the terminal has. The one unsafe call of the front ends: no crate in use
//! already asks for the size of a terminal behind a safe function.

use std::os::fd::AsRawFd;

/// Columns and rows of the terminal behind a stream; `None` when it is a file or a pipe.
pub fn terminal_size(stream: &impl AsRawFd) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize` through the pointer, which outlives the call.
    let answer = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (answer == 0 && size.ws_col > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

//! What happens while it is looked at: files that are rewritten, cut, moved and
//! swapped during their reading, directories during the walk.
//!
//! Whatever happens, nothing outside the root is opened, and what is said is true
//! of some moment of the look, or a gap.

mod canary;
mod during_read;
mod during_walk;
mod refused;
mod slow;
mod start;
mod storm;

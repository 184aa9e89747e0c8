//! Contracts on stock images: what is found on machines that only booted.

use anyhow::Result;

pub(crate) fn table() -> Result<String> {
    Ok(String::new())
}

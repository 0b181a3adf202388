//! The limit of a page in bytes.

use crate::error::ApiError;

/// The most bytes of a page.
const LIMIT: usize = 16 * 1024 * 1024;

/// The size of a page that is being made.
#[derive(Debug, Default)]
pub struct PageSize {
    items: usize,
    bytes: usize,
}

impl PageSize {
    /// Counts an item with that many bytes.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] if the page is too large. It names a limit that fits.
    pub fn add(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.bytes += bytes;
        if self.bytes > LIMIT {
            let message = format!("the page would exceed 16 MiB; a limit of {} fits", self.items);
            return Err(ApiError::bad_argument("limit", message));
        }
        self.items += 1;
        Ok(())
    }
}

//! Reads of one row by a key, which concurrent requests of a thread share.

use std::hash::Hash;
use std::marker::PhantomData;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, FromRow};
use uuid::Uuid;

use super::resource::{Resource, Stored};
use super::statement::{self, Mode};

/// A read of one row by its key.
pub trait Lookup: 'static {
    /// The key.
    type Key: Clone + Eq + Hash + 'static;
    /// The row.
    type Row: Clone + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static;

    /// The statement that reads the visible rows of a batch, each with its `index`. Its parameters
    /// are arrays: the indexes, the keys, and the three arguments of the actors' visibility.
    fn statement() -> String;

    /// Binds the array of the keys.
    ///
    /// # Errors
    /// If a key cannot be encoded.
    fn bind_keys(arguments: &mut PgArguments, keys: Vec<Self::Key>) -> Result<(), BoxDynError>;
}

/// The lookup of an object by its sid.
pub(super) struct BySid<R>(PhantomData<R>);

impl<R: Resource> Lookup for BySid<R> {
    type Key = Uuid;
    type Row = Stored<R>;

    fn statement() -> String {
        statement::load::<R>(Mode::Optimistic)
    }

    fn bind_keys(arguments: &mut PgArguments, keys: Vec<Uuid>) -> Result<(), BoxDynError> {
        arguments.add(keys)
    }
}

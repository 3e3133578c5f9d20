//! Reading statements that return one row.

use tokio_postgres::Row;

use crate::database::DatabaseError;

/// The row of a statement that always returns one.
pub(super) fn only_row(rows: &[Row]) -> Result<&Row, DatabaseError> {
    rows.first()
        .ok_or_else(|| DatabaseError::unexpected("no row of a statement of the catalogue"))
}

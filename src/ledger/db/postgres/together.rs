//! A batch as one statement, so that a transaction is one trip: each statement of the batch is a part that changes data (`WITH`).
//! What must change a row is looked at by the last line, in order, and everything else runs after it.

use std::{borrow::Cow, fmt::Write as _};

use super::{Batch, Value};
use crate::ledger::db::Statement;

/// What the server's log says where two writers met.
const WORDS: &str = "a row changed meanwhile: nothing was written, and it is decided anew";

/// The statement and its values. Where a part changed no row that must, it ends with an error of the server's, since the words
/// are no number: that is [`crate::ledger::LedgerError::Stale`].
pub(super) fn one_statement(batch: Batch) -> (Cow<'static, str>, Vec<Value>) {
    let mut parts = batch.0;
    if let [Statement { must: false, sql, values }] = parts.as_mut_slice() {
        return (Cow::Borrowed(sql), std::mem::take(values));
    }
    let (mut text, mut stale, mut all) = (String::with_capacity(2048), String::new(), Vec::with_capacity(64));
    for (index, Statement { sql, values, must }) in parts.into_iter().enumerate() {
        let _ = write!(text, "{} p{index} AS (", if index == 0 { "WITH" } else { "," });
        renumber(&mut text, sql, all.len());
        text.push_str(if must { " RETURNING 1)" } else { ")" });
        if must {
            let _ = write!(stale, "{}(SELECT count(*) FROM p{index}) = 0", if stale.is_empty() { "" } else { " OR " });
        }
        all.extend(values);
    }
    if stale.is_empty() {
        text.push_str(" SELECT 1");
    } else {
        let _ = write!(text, " SELECT CAST(CASE WHEN {stale} THEN '{WORDS}' ELSE '1' END AS BIGINT)");
    }
    (Cow::Owned(text), all)
}

/// Adds a statement whose `$1` is the value after the first `before`.
fn renumber(text: &mut String, sql: &str, before: usize) {
    let mut parts = sql.split('$');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = part[..digits].parse().unwrap_or(0);
        let _ = write!(text, "${}{}", number + before, &part[digits..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(parts: &[(&'static str, i64, bool)]) -> Batch {
        let parts = parts.iter();
        Batch(parts.map(|(sql, value, must)| Statement { sql, values: vec![(*value).into()], must: *must }).collect())
    }

    #[test]
    fn parts_keep_their_values_and_those_that_must_change_a_row_are_looked_at_in_order() {
        let (sql, values) = one_statement(batch(&[
            ("UPDATE a SET x = $1 WHERE y = $1", 7, true),
            ("UPDATE b SET x = $1", 8, true),
            ("INSERT INTO c VALUES ($1)", 9, false),
        ]));
        assert_eq!(
            sql,
            format!(
                "WITH p0 AS (UPDATE a SET x = $1 WHERE y = $1 RETURNING 1), p1 AS (UPDATE b SET x = $2 RETURNING 1), \
                 p2 AS (INSERT INTO c VALUES ($3)) SELECT CAST(CASE WHEN (SELECT count(*) FROM p0) = 0 OR \
                 (SELECT count(*) FROM p1) = 0 THEN '{WORDS}' ELSE '1' END AS BIGINT)"
            )
        );
        let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
        assert_eq!(values, ["Int(Some(7))", "Int(Some(8))", "Int(Some(9))"]);
    }

    #[test]
    fn one_part_is_itself_unless_it_must_change_a_row() {
        let (sql, values) = one_statement(batch(&[("UPDATE a SET x = $1", 7, false)]));
        assert!((sql.as_ref(), values.len()) == ("UPDATE a SET x = $1", 1));
        let (sql, _) = one_statement(batch(&[("UPDATE a SET x = $1", 7, true)]));
        assert!(sql.starts_with("WITH p0 AS (UPDATE a SET x = $1 RETURNING 1) SELECT CAST(CASE"), "{sql}");
    }
}

//! A batch as one statement, so that a transaction is one trip: each statement of the batch is a part that changes data (`WITH`).
//! What must change a row is looked at by the last line, in order, and everything else runs after it.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{LazyLock, PoisonError, RwLock},
};

use super::{Batch, Value};
use crate::ledger::db::Statement;

/// What the server's log says where two writers met.
const WORDS: &str = "a row changed meanwhile: nothing was written, and it is decided anew";

/// By what a batch is known again: where its constant texts lie, how long they are, and which must change a row.
type Shape = Vec<(usize, usize, bool)>;

/// The texts that were made, some twenty in all: one for each kind of batch that the ledger's functions put together.
static TEXTS: LazyLock<RwLock<HashMap<Shape, &'static str>>> = LazyLock::new(RwLock::default);

/// The statement and its values. Where a part changed no row that must, it ends with an error of the server's, since the words
/// are no number: that is [`crate::ledger::LedgerError::Stale`].
pub(super) fn one_statement(batch: Batch) -> (&'static str, Vec<Value>) {
    let mut parts = batch.0;
    if let [Statement { must: false, sql, values }] = parts.as_mut_slice() {
        return (sql, std::mem::take(values));
    }
    let shape: Shape = parts.iter().map(|part| (part.sql.as_ptr().addr(), part.sql.len(), part.must)).collect();
    let known = TEXTS.read().unwrap_or_else(PoisonError::into_inner).get(&shape).copied();
    let text = known.unwrap_or_else(|| {
        let mut texts = TEXTS.write().unwrap_or_else(PoisonError::into_inner);
        // kept as long as the program runs, as the constants are that it is made of
        texts.entry(shape).or_insert_with(|| Box::leak(text(&parts).into_boxed_str()))
    });
    (text, parts.into_iter().flat_map(|part| part.values).collect())
}

fn text(parts: &[Statement]) -> String {
    let (mut text, mut stale, mut before) = (String::new(), String::new(), 0);
    for (index, Statement { sql, values, must }) in parts.iter().enumerate() {
        let _ = write!(text, "{} p{index} AS (", if index == 0 { "WITH" } else { "," });
        renumber(&mut text, sql, before);
        text.push_str(if *must { " RETURNING 1)" } else { ")" });
        if *must {
            let _ = write!(stale, "{}(SELECT count(*) FROM p{index}) = 0", if stale.is_empty() { "" } else { " OR " });
        }
        before += values.len();
    }
    if stale.is_empty() {
        text.push_str(" SELECT 1");
    } else {
        let _ = write!(text, " SELECT CAST(CASE WHEN {stale} THEN '{WORDS}' ELSE '1' END AS BIGINT)");
    }
    text
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
        assert!((sql, values.len()) == ("UPDATE a SET x = $1", 1));
        let (sql, _) = one_statement(batch(&[("UPDATE a SET x = $1", 7, true)]));
        assert!(sql.starts_with("WITH p0 AS (UPDATE a SET x = $1 RETURNING 1) SELECT CAST(CASE"), "{sql}");
    }
}

//! Reading JSON by hand, so that a refusal names the field: WeChat's `PARAM_ERROR` and the control calls' 422 both must.

use serde_json::{Map, Value};

/// A field that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadField {
    /// Where it is: `/amount/refund`.
    pub(crate) field: String,
    /// What was sent, as JSON; empty where nothing was.
    pub(crate) value: String,
    pub(crate) issue: String,
}

/// The fields of one JSON object.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of a whole document.
    pub(crate) fn of(document: &'a Value) -> Result<Self, BadField> {
        match document {
            Value::Object(map) => Ok(Self { path: String::new(), map }),
            other => Err(BadField {
                field: "/".to_owned(),
                value: other.to_string(),
                issue: "a JSON object is expected".to_owned(),
            }),
        }
    }

    /// Refuses this field.
    pub(crate) fn bad(&self, name: &str, issue: impl Into<String>) -> BadField {
        let value = self.map.get(name).map(Value::to_string).unwrap_or_default();
        BadField { field: format!("{}/{name}", self.path), value, issue: issue.into() }
    }

    /// Refuses any field that is not in the list.
    pub(crate) fn only(&self, names: &[&str]) -> Result<(), BadField> {
        match self.map.keys().find(|key| !names.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(self.bad(key, format!("no such field; there are {}", names.join(", ")))),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A text of 1 to `max` characters.
    pub(crate) fn text(&self, name: &str, max: usize) -> Result<Option<&'a str>, BadField> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Err(self.bad(name, "must not be empty")),
            Some(Value::String(text)) if text.chars().count() > max => {
                Err(self.bad(name, format!("has more than {max} characters")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(name, "must be a string")),
        }
    }

    /// A text that must be there.
    pub(crate) fn required_text(&self, name: &str, max: usize) -> Result<&'a str, BadField> {
        self.text(name, max)?.ok_or_else(|| self.bad(name, "is required"))
    }

    /// One word of a list.
    pub(crate) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, BadField> {
        let Some(text) = self.text(name, 64)? else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                Err(self.bad(name, format!("must be one of {}", known.join(", "))))
            }
        }
    }

    /// A word that must be there.
    pub(crate) fn required_word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<T, BadField> {
        self.word(name, words)?.ok_or_else(|| self.bad(name, "is required"))
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, BadField> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.bad(name, "must be a whole number")),
        }
    }

    /// An amount: a whole number of fen, at least 1.
    pub(crate) fn amount(&self, name: &str) -> Result<i64, BadField> {
        match self.integer(name)? {
            None => Err(self.bad(name, "is required")),
            Some(amount) if amount < 1 => Err(self.bad(name, "must be at least 1 fen")),
            Some(amount) if amount > MOST_FEN => Err(self.bad(name, format!("must be at most {MOST_FEN} fen"))),
            Some(amount) => Ok(amount),
        }
    }

    /// Any number.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, BadField> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.bad(name, "must be a number")),
        }
    }

    /// An object inside.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields<'a>>, BadField> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields { path: format!("{}/{name}", self.path), map })),
            Some(_) => Err(self.bad(name, "must be an object")),
        }
    }

    /// A list of objects inside.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Fields<'a>>, BadField> {
        let items = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.bad(name, "must be an array")),
        };
        let objects = items.iter().enumerate().map(|(index, item)| match item {
            Value::Object(map) => Ok(Fields { path: format!("{}/{name}/{index}", self.path), map }),
            _ => Err(self.bad(name, "must be an array of objects")),
        });
        objects.collect()
    }
}

/// No single payment is larger: 100 million yuan. It keeps every sum of an order's refunds inside an `i64`.
const MOST_FEN: i64 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_names_the_field_with_its_path() {
        let document = json!({"a": {"b": "x"}, "n": 1.5, "list": [{"k": 1}, 2]});
        let fields = Fields::of(&document).unwrap();
        let inner = fields.object("a").unwrap().unwrap();
        let bad = inner.integer("b").unwrap_err();
        assert_eq!((bad.field.as_str(), bad.value.as_str()), ("/a/b", "\"x\""));
        assert_eq!(fields.amount("n").unwrap_err().issue, "must be a whole number");
        assert_eq!(inner.required_text("c", 3).unwrap_err().field, "/a/c");
        assert!(fields.objects("list").is_err());
        assert_eq!(fields.only(&["a", "n"]).unwrap_err().field, "/list");
        assert_eq!(Fields::of(&json!([])).err().unwrap().field, "/");
    }
}

//! The node of an answer: its fields in the order in which they are written, `code` and `msg` first.

use serde_json::Value;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node(Vec<(&'static str, Value)>);

impl Node {
    /// The call was understood (alipay §3).
    pub(super) fn success() -> Self {
        Self(vec![]).with("code", "10000").with("msg", "Success")
    }

    /// The business said no.
    pub(super) fn failed(sub_code: &str, sub_msg: &str) -> Self {
        Self::refused("40004", "Business Failed", sub_code, sub_msg)
    }

    /// Any other no (alipay §6).
    pub(super) fn refused(code: &str, msg: &str, sub_code: &str, sub_msg: &str) -> Self {
        Self(vec![]).with("code", code).with("msg", msg).with("sub_code", sub_code).with("sub_msg", sub_msg)
    }

    /// One more field.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// One more field, where there is something to say.
    pub(super) fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The JSON text: these bytes are signed and sent.
    pub(super) fn text(&self) -> String {
        let fields: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// What a log may say of a refusal: its code. The text repeats what a caller sent.
    pub(super) fn sub_code(&self) -> &str {
        let found = self.0.iter().find(|(name, _)| *name == "sub_code");
        found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_written_in_the_order_of_its_fields() {
        let node = Node::success().with("trade_no", "1").with_some("none", None::<String>).with("list", vec!["a\"b"]);
        assert_eq!(node.text(), r#"{"code":"10000","msg":"Success","trade_no":"1","list":["a\"b"]}"#);
    }
}

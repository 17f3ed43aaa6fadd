//! Writes JSON text straight into one buffer, in the order it is told.
//! Owns escaping and commas. Knows nothing of FHIR. A `serde_json::Value` would sort the members and cost five times the time, which the
//! import benchmark would feel: it writes half a million resources with this.

/// A JSON value under construction: an object outside, or whatever a closure is filling.
pub(crate) struct Writer {
    out: String,
}

impl Writer {
    /// Begins an object whose first member is `resourceType`.
    pub(crate) fn resource(resource_type: &str, capacity: usize) -> Self {
        let mut writer = Self { out: String::with_capacity(capacity) };
        writer.out.push('{');
        writer.text("resourceType", resource_type);
        writer
    }

    /// Ends the outermost object and hands over the text.
    pub(crate) fn finish(mut self) -> String {
        self.out.push('}');
        self.out
    }

    /// A member that holds a string.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        self.string(value);
    }

    /// A member whose value is JSON text already: a number, `true`, or a whole object.
    pub(crate) fn raw(&mut self, name: &str, json: &str) {
        self.key(name);
        self.out.push_str(json);
    }

    /// A member that holds `true` or `false`.
    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    /// A member that holds a whole number.
    pub(crate) fn number(&mut self, name: &str, value: i64) {
        self.raw(name, &value.to_string());
    }

    /// A member that holds an object.
    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.key(name);
        self.braces(fill);
    }

    /// A member that holds an array; `fill` calls `item` or `value`.
    pub(crate) fn array(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.key(name);
        self.out.push('[');
        fill(self);
        self.out.push(']');
    }

    /// One object of the array being filled.
    pub(crate) fn item(&mut self, fill: impl FnOnce(&mut Self)) {
        self.comma();
        self.braces(fill);
    }

    /// One string of the array being filled.
    pub(crate) fn value(&mut self, value: &str) {
        self.comma();
        self.string(value);
    }

    fn braces(&mut self, fill: impl FnOnce(&mut Self)) {
        self.out.push('{');
        fill(self);
        self.out.push('}');
    }

    fn key(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.out.push(':');
    }

    // No complete JSON value ends in an opening bracket, so the last byte says whether something stands before.
    fn comma(&mut self) {
        if !self.out.ends_with(['{', '[']) {
            self.out.push(',');
        }
    }

    fn string(&mut self, value: &str) {
        self.out.push('"');
        for c in value.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c < ' ' => self.out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;

    #[test]
    fn members_keep_their_order_and_every_character_survives() {
        let hard = "\"\\\n\r\t\u{1} ü 漢 {[";
        let mut writer = Writer::resource("Patient", 64);
        writer.text("hard", hard);
        writer.array("list", |w| {
            w.value("{");
            w.item(|w| w.flag("a", true));
            w.item(|_| ());
        });
        writer.object("o", |w| w.number("n", -3));
        let text = writer.finish();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["hard"], hard);
        assert_eq!(read["list"], serde_json::json!(["{", { "a": true }, {}]));
        assert!(text.starts_with(r#"{"resourceType":"Patient","hard":"#));
        assert!(text.ends_with(r#""o":{"n":-3}}"#));
    }
}

//! HTML, written from left to right. Whatever is not ours goes through [`Html::text`].

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A page on its way.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of ours.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Anybody's text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                letter => self.0.push(letter),
            }
        }
        self
    }

    /// Anybody's text as a value in an address.
    pub(super) fn escaped_in_url(&mut self, text: &str) -> &mut Self {
        self.0.extend(utf8_percent_encode(text, NON_ALPHANUMERIC));
        self
    }

    /// A section with a table that has these heads.
    pub(super) fn section(&mut self, name: &str, heads: &[&str]) -> &mut Self {
        self.raw("<section><h2>").text(name).raw("</h2><div class=\"wide\"><table><thead><tr>");
        for head in heads {
            self.raw("<th scope=\"col\">").text(head).raw("</th>");
        }
        self.raw("</tr></thead><tbody>")
    }

    pub(super) fn row(&mut self, cells: &[&str]) -> &mut Self {
        self.raw("<tr>");
        for cell in cells {
            self.raw("<td>").text(cell).raw("</td>");
        }
        self.raw("</tr>")
    }

    /// Says that a table has no rows.
    pub(super) fn empty(&mut self, is_empty: bool, columns: usize, said: &str) -> &mut Self {
        if is_empty {
            self.raw("<tr><td class=\"none\" colspan=\"")
                .text(&columns.to_string())
                .raw("\">")
                .text(said)
                .raw("</td></tr>");
        }
        self.raw("</tbody></table></div>")
    }

    pub(super) fn end_section(&mut self) -> &mut Self {
        self.raw("</section>")
    }

    pub(super) fn form(&mut self, to: &'static str, lang: &str) -> &mut Self {
        self.raw("<form method=\"post\" action=\"").raw(to).raw("?lang=").text(lang).raw("\">")
    }

    pub(super) fn choice<'a>(
        &mut self,
        name: &'static str,
        label: &str,
        words: impl IntoIterator<Item = &'a str>,
    ) -> &mut Self {
        self.raw("<label>").text(label).raw(" <select name=\"").raw(name).raw("\">");
        for word in words {
            self.raw("<option>").text(word).raw("</option>");
        }
        self.raw("</select></label>")
    }

    pub(super) fn input(&mut self, name: &'static str, label: &str, example: &str, required: bool) -> &mut Self {
        self.raw("<label>").text(label).raw(" <input name=\"").raw(name).raw("\" placeholder=\"").text(example);
        self.raw(if required { "\" required></label>" } else { "\"></label>" })
    }

    pub(super) fn submit(&mut self, label: &str) -> &mut Self {
        self.raw("<button>").text(label).raw("</button></form>")
    }

    pub(super) fn done(self) -> String {
        self.0
    }
}

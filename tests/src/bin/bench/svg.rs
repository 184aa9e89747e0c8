//! A picture of times as horizontal bars, for light and dark backgrounds alike.
//!
//! It has no script and nothing from outside; text is text.

use std::fmt::Write;

const WIDTH: u32 = 760;
const NAMES_WIDTH: u32 = 250;
/// Room for a number behind the longest bar.
const NUMBER_WIDTH: u32 = 80;
const TITLE_HEIGHT: u32 = 44;
const ROW_HEIGHT: u32 = 30;
const BAR_HEIGHT: u32 = 18;

/// Greys and a blue that stand out from white and from black; where the viewer
/// tells which it is, ones that stand out better.
const STYLE: &str = "\
text{font:14px system-ui,sans-serif;fill:#767676}\
.title{font-weight:600}\
.bar{fill:#8c8c8c}\
.ours{fill:#2f81f7}\
@media(prefers-color-scheme:light){text{fill:#1f2328}}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}}";

/// One bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// Whether it is the one that the picture is about.
    pub(crate) is_ours: bool,
}

/// Bars in the order given, as long as what they stand for.
pub(crate) fn picture(title: &str, bars: &[Bar]) -> String {
    let height = TITLE_HEIGHT + ROW_HEIGHT * bars.len() as u32 + ROW_HEIGHT / 2;
    let most = bars.iter().map(|bar| bar.seconds).fold(f64::MIN_POSITIVE, f64::max);
    let title = escape(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">{title}</title>\n<style>{STYLE}</style>\n\
         <text class=\"title\" x=\"8\" y=\"26\">{title}</text>\n"
    );
    for (at, bar) in bars.iter().enumerate() {
        row(&mut svg, bar, TITLE_HEIGHT + ROW_HEIGHT * at as u32, bar.seconds / most);
    }
    svg.push_str("</svg>\n");
    svg
}

fn row(svg: &mut String, bar: &Bar, top: u32, share: f64) {
    let length = (f64::from(WIDTH - NAMES_WIDTH - NUMBER_WIDTH) * share).max(1.0);
    let class = if bar.is_ours { "ours" } else { "bar" };
    let baseline = top + BAR_HEIGHT - 4;
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\n\
         <rect class=\"{class}\" x=\"{NAMES_WIDTH}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>\n\
         <text x=\"{:.1}\" y=\"{baseline}\">{}</text>\n",
        NAMES_WIDTH - 10,
        escape(&bar.name),
        f64::from(NAMES_WIDTH) + length + 8.0,
        seconds(bar.seconds)
    );
}

fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.1} s") }
}

/// What XML holds for more than itself; control characters are not XML at all.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            plain => escaped.push(plain),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;

    fn bar(name: &str, seconds: f64, is_ours: bool) -> Bar {
        Bar { name: name.to_owned(), seconds, is_ours }
    }

    /// The texts and the widths of the bars.
    fn read(svg: &str) -> (Vec<String>, Vec<f64>) {
        let mut reader = Reader::from_str(svg);
        let (mut texts, mut widths, mut depth) = (Vec::new(), Vec::new(), 0);
        loop {
            match reader.read_event().unwrap() {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Empty(element) if element.name().as_ref() == "rect" => {
                    let width = element.try_get_attribute("width").unwrap().unwrap();
                    widths.push(width.value.parse().unwrap());
                }
                Event::Text(text) if !text.trim().is_empty() => texts.push(text.to_string()),
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0, "{svg}");
        (texts, widths)
    }

    #[test]
    fn bars_are_as_long_as_they_take() {
        let svg = picture("Full verify", &[bar("ours", 1.0, true), bar("theirs", 4.0, false)]);
        let (texts, widths) = read(&svg);
        assert_eq!(
            texts[2..],
            ["Full verify", "ours", "1.00 s", "theirs", "4.00 s"].map(str::to_owned)[..],
            "{svg}"
        );
        assert!((widths[0] * 4.0 - widths[1]).abs() < 0.5, "{widths:?}");
        assert!(svg.contains("class=\"ours\"") && !svg.contains("<script"));
    }

    #[test]
    fn any_text_is_well_formed() {
        for name in ["a & b", "<script>", "\"quoted\"", "\u{1b}[31m", ""] {
            read(&picture(name, &[bar(name, 0.0, false)]));
        }
        read(&picture("nothing", &[]));
    }
}

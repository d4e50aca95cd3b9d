//! The text that the A1111 web UI puts into its pictures under the keyword `parameters`, and that most tools read: the
//! prompt, a line `Negative prompt: …`, and a last line of `Key: value, …`. `www/src/shared/infotext.ts` writes the same.

use easel::sampler::SamplerKind;

/// Keyword of the text in a PNG file.
pub(super) const KEYWORD: &str = "parameters";

/// How a picture was made.
pub(super) struct Infotext<'a> {
    pub(super) prompt: &'a str,
    pub(super) negative_prompt: &'a str,
    pub(super) steps: usize,
    pub(super) sampler: Option<SamplerKind>,
    pub(super) guidance_scale: f64,
    pub(super) seed: u64,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) model: &'a str,
    /// Of a picture that was made from another one.
    pub(super) strength: Option<f64>,
    /// Name and version of this program.
    pub(super) version: &'a str,
}

impl Infotext<'_> {
    /// The whole text; NUL, which would end it in a file, is left out.
    pub(super) fn text(&self) -> String {
        let (sampler, schedule) = match self.sampler.map(SamplerKind::label) {
            // The web UI names the noise schedule by itself.
            Some(label) => match label.strip_suffix(" Karras") {
                Some(sampler) => (Some(sampler), Some("Karras")),
                None => (Some(label), None),
            },
            None => (None, None),
        };
        let pairs = [
            ("Steps", Some(self.steps.to_string())),
            ("Sampler", sampler.map(str::to_owned)),
            ("Schedule type", schedule.map(str::to_owned)),
            ("CFG scale", Some(self.guidance_scale.to_string())),
            ("Seed", Some(self.seed.to_string())),
            ("Size", Some(format!("{}x{}", self.width, self.height))),
            ("Model", Some(self.model.to_owned()).filter(|model| !model.is_empty())),
            ("Denoising strength", self.strength.map(|strength| strength.to_string())),
            ("RNG", Some("CPU".to_owned())),
            ("Version", Some(self.version.to_owned())),
        ];
        let known = pairs.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}", quoted(&value?))));
        let last = known.collect::<Vec<_>>().join(", ");
        let negative = match self.negative_prompt {
            "" => String::new(),
            negative => format!("Negative prompt: {negative}"),
        };
        let lines = [self.prompt, &negative, &last].into_iter().filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("\n").replace('\0', "")
    }
}

/// Whether a text is Latin-1 that no reader would take for UTF-8, so that a tEXt chunk can hold it.
pub(super) fn fits_latin1(text: &str) -> bool {
    let allowed = |c| matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{ff}');
    let bytes: Vec<u8> = text.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect();
    text.chars().all(allowed) && (text.is_ascii() || std::str::from_utf8(&bytes).is_err())
}

/// A value that holds what separates values is quoted as in JSON.
fn quoted(value: &str) -> String {
    if value.contains([',', ':', '\n', '"']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        name: String,
        settings: Settings,
        version: String,
        text: String,
        chunk: String,
    }

    #[derive(Deserialize)]
    struct Settings {
        prompt: String,
        negative_prompt: String,
        steps: usize,
        guidance_scale: f64,
        sampler: String,
        seed: u64,
        width: usize,
        height: usize,
        model: String,
        strength: Option<f64>,
    }

    #[test]
    fn texts_are_those_of_the_page() -> Result<(), Box<dyn std::error::Error>> {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/infotexts.json"))?;
        for Case { name, settings, version, text, chunk } in cases {
            let infotext = Infotext {
                prompt: &settings.prompt,
                negative_prompt: &settings.negative_prompt,
                steps: settings.steps,
                sampler: Some(settings.sampler.parse()?),
                guidance_scale: settings.guidance_scale,
                seed: settings.seed,
                width: settings.width,
                height: settings.height,
                model: &settings.model,
                strength: settings.strength,
                version: &version,
            };
            assert_eq!(infotext.text(), text, "{name}");
            assert_eq!(if fits_latin1(&text) { "tEXt" } else { "iTXt" }, chunk, "{name}");
        }
        Ok(())
    }
}

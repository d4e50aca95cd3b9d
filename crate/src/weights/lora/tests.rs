use super::*;
use crate::weights::block_on;
use crate::weights::dump::{NamedTensor, TensorData, write};
use crate::weights::source::LocalBoxFuture;

struct Memory(Vec<u8>);

impl Source for Memory {
    fn size<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async { Ok(Some(self.0.len() as u64)) })
    }

    fn read<'a>(&'a self, _: &'a str, range: std::ops::Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move { Ok(self.0[range.start as usize..range.end as usize].to_vec()) })
    }
}

fn tensor(name: &str, shape: &[usize], value: f32) -> NamedTensor {
    let data = TensorData::F32(vec![value; shape.iter().product()]);
    NamedTensor { name: name.to_owned(), shape: shape.to_vec(), data }
}

fn scale(tensors: &[NamedTensor]) -> f32 {
    let source = Memory(write("x", tensors).unwrap());
    let file = block_on(LoraFile::open(&source, "x")).unwrap();
    let weights = block_on(file.weights(&source)).unwrap();
    block_on(file.numbers(&weights, &file.layers()[0], "a")).unwrap().scale
}

#[test]
fn scales() {
    let layer = [
        tensor("lora_unet_a.lora_down.weight", &[4, 3], 1.0),
        tensor("lora_unet_a.lora_up.weight", &[5, 4], 2.0),
    ];
    assert_eq!(scale(&layer), 1.0);
    let whole = NamedTensor { data: TensorData::I64(vec![6]), ..tensor("lora_unet_a.alpha", &[], 0.0) };
    assert_eq!(scale(&[&layer[..], &[whole]].concat()), 1.5);
    for shape in [&[][..], &[1]] {
        let alpha = tensor("lora_unet_a.alpha", shape, 6.0);
        assert_eq!(scale(&[&layer[..], &[alpha]].concat()), 1.5);
    }
}

#[test]
fn scales_of_peft() {
    let texts = |text: &str| BTreeMap::from([("lora_adapter_metadata".to_owned(), text.to_owned())]);
    let config = r#"{"unet.lora_alpha": 8, "unet.alpha_pattern": {"to_q": 2, "^mid.to_k": 4, "q": 16},
        "text_encoder.lora_alpha": 2.0, "text_encoder.use_rslora": true}"#;
    let alphas = Alphas::read("x", &texts(config)).unwrap();
    let cases = [
        (Part::Unet, "down.to_v", 2.0),
        (Part::Unet, "down.to_q", 0.5),
        (Part::Unet, "mid.to_k", 1.0),
        (Part::Unet, "a.mid.to_k", 2.0),
        (Part::TextEncoder, "q", 1.0),
        (Part::TextEncoder2, "q", 1.0),
    ];
    for (part, module, scale) in cases {
        assert_eq!(alphas.scale(part, module, 4), scale, "{part:?} {module}");
    }
    let bad = [
        ("[]", "bad_config"),
        ("{", "bad_config"),
        (r#"{"unet.lora_alpha": "x"}"#, "bad_config"),
        (r#"{"unet.use_dora": true}"#, "bad_lora"),
        (r#"{"unet.lora_bias": true}"#, "bad_lora"),
    ];
    for (text, code) in bad {
        assert_eq!(Alphas::read("x", &texts(text)).unwrap_err().code(), code, "{text}");
    }
}

/// Any tensors of such names make a file or an error, without panic, and no layer beyond the file.
#[test]
fn random_names() {
    let pieces = [
        "lora_unet_",
        "lora_te2_",
        "unet.",
        "text_encoder.",
        "a",
        ".to_out",
        ".processor",
        ".lora_A",
        ".lora_up",
    ];
    let ends = [
        ".weight",
        ".alpha",
        "_lora.down.weight",
        ".lora_B.weight",
        ".lora_down.weight",
        ".hada_w1_a",
        ".bias",
    ];
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut opened = 0;
    for _ in 0..5_000 {
        let mut tensors = BTreeMap::new();
        for _ in 0..=random(3) {
            let name: String = (0..=random(3)).map(|_| pieces[random(pieces.len())]).collect();
            let name = name + ends[random(ends.len())];
            let shape: Vec<usize> = (0..random(4)).map(|_| random(3)).collect();
            tensors.insert(name.clone(), tensor(&name, &shape, 1.0));
        }
        let tensors: Vec<_> = tensors.into_values().collect();
        let source = Memory(write("x", &tensors).unwrap());
        let Ok(file) = block_on(LoraFile::open(&source, "x")) else { continue };
        let weights = block_on(file.weights(&source)).unwrap();
        for layer in file.layers() {
            let numbers = block_on(file.numbers(&weights, layer, "a")).unwrap();
            assert_eq!(numbers.down.len(), layer.down.shape.iter().product::<usize>());
            opened += 1;
        }
    }
    assert!(opened > 0);
}

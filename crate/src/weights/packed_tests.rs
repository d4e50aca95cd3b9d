use super::dump::{NamedTensor, TensorData, write};
use super::pack::pack_part;
use super::source::MemorySource;
use super::*;
use crate::quantization::{Layout, Policy, pack};

const FILE: &str = "unet/diffusion_pytorch_model.safetensors";
const LAYER: (&str, [usize; 2]) = ("layer.weight", [41, 70]);
const CONVOLUTION: (&str, [usize; 4]) = ("conv.weight", [8, 40, 3, 3]);
const TABLE: (&str, [usize; 2]) = ("token_embedding.weight", [70, 12]);
/// A vector, rows that are added and not multiplied with, and inputs too few to fill a block.
const KEPT: [(&str, &[usize]); 3] =
    [("norm.weight", &[9]), ("position_embedding.weight", &[5, 64]), ("conv_in.weight", &[16, 4, 3, 3])];

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * i % 89) as f32 / 44.0 - 1.0).collect()
}

fn original() -> MemorySource {
    let layers: [(&str, &[usize]); 3] =
        [(LAYER.0, &LAYER.1), (CONVOLUTION.0, &CONVOLUTION.1), (TABLE.0, &TABLE.1)];
    let mut tensors: Vec<NamedTensor> = layers
        .into_iter()
        .chain(KEPT)
        .map(|(name, shape)| NamedTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            data: TensorData::F32(values(shape.iter().product())),
        })
        .collect();
    tensors.push(NamedTensor { name: "ids".into(), shape: vec![2], data: TensorData::I64(vec![7, -1]) });
    let mut source = MemorySource::default();
    source.insert(FILE, write(FILE, &tensors).unwrap());
    source
}

fn packed(quant: Quant, shard_bytes: u64) -> MemorySource {
    let mut files = MemorySource::default();
    block_on(pack_part(&original(), "unet", &Policy::Uniform(quant), shard_bytes, &mut files)).unwrap();
    files
}

#[test]
fn what_is_packed_reads_as_what_it_was() {
    for (quant, shard_bytes) in Quant::ALL.into_iter().flat_map(|quant| [(quant, u64::MAX), (quant, 4000)]) {
        let files = packed(quant, shard_bytes);
        let weights = block_on(Weights::open(&files, "unet", Prefer::Full)).unwrap();
        assert_eq!(weights.files().len() > 1, shard_bytes == 4000);
        let formats: Vec<_> = weights.packed().collect();
        assert_eq!(formats, [(CONVOLUTION.0, quant), (LAYER.0, quant), (TABLE.0, quant)]);

        let layers: [(&str, &[usize]); 2] = [(LAYER.0, &LAYER.1), (CONVOLUTION.0, &CONVOLUTION.1)];
        for (name, shape) in layers {
            let layout = Layout::of_shape(shape).unwrap();
            let expected = pack(quant, layout, &values(shape.iter().product()));
            let found = block_on(weights.read_packed(name, shape)).unwrap().unwrap();
            assert_eq!(found, (quant, layout, expected.clone()), "{name}");
            let numbers = block_on(weights.read_f32(name, shape)).unwrap();
            assert_eq!(numbers, crate::quantization::unpack(quant, layout, &expected), "{name}");
        }
        for (name, shape) in KEPT {
            assert_eq!(block_on(weights.read_packed(name, shape)).unwrap(), None, "{name}");
            let numbers = block_on(weights.read_f32(name, shape)).unwrap();
            assert_eq!(numbers, values(shape.iter().product()), "{name}");
        }
        let mut ids = Vec::new();
        let take = |bytes: &[u8]| {
            ids.extend_from_slice(bytes);
            Ok(())
        };
        block_on(weights.read_raw("ids", take)).unwrap();
        assert_eq!(ids, [7i64, -1].map(i64::to_le_bytes).concat());
    }
}

#[test]
fn rows_of_a_packed_table_and_layer() {
    let files = packed(Quant::Q6, u64::MAX);
    let weights = block_on(Weights::open(&files, "unet", Prefer::Full)).unwrap();
    for (name, shape) in [TABLE, LAYER] {
        let all = block_on(weights.read_f32(name, &shape)).unwrap();
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 0.05;
        assert!(all.iter().zip(&values(all.len())).all(near), "{name}");
        for rows in [vec![], vec![40, 0, 31, 32, 0], (0..shape[0]).collect()] {
            let read = block_on(weights.read_rows_f32(name, shape, &rows)).unwrap();
            let expected: Vec<f32> =
                rows.iter().flat_map(|row| &all[row * shape[1]..][..shape[1]]).copied().collect();
            assert_eq!(read, expected, "{name} {rows:?}");
        }
    }
    assert_eq!(block_on(weights.read_packed(TABLE.0, &TABLE.1)).unwrap(), None);
    let error = block_on(weights.read_packed(LAYER.0, &[41, 71])).unwrap_err();
    assert_eq!(error.code(), "tensor_shape");
}

#[test]
fn a_pack_is_not_packed_again_and_infinities_are_not_packed() {
    let mut files = MemorySource::default();
    let source = packed(Quant::Q8, u64::MAX);
    let again = pack_part(&source, "unet", &Policy::Mixed, 1, &mut files);
    assert!(block_on(again).unwrap_err().to_string().contains("is packed already"));
    let cases = [
        (vec![(LAYER.0.to_owned(), f32::NAN)], "not finite"),
        (vec![(LAYER.0.to_owned(), 1.0), (format!("{}.scale", LAYER.0), 1.0)], "neighbour"),
    ];
    for (tensors, reason) in cases {
        let tensor = |(name, value)| NamedTensor {
            name,
            shape: vec![32, 32],
            data: TensorData::F32(vec![value; 1024]),
        };
        let tensors: Vec<_> = tensors.into_iter().map(tensor).collect();
        let mut source = MemorySource::default();
        source.insert(FILE, write(FILE, &tensors).unwrap());
        let packed = pack_part(&source, "unet", &Policy::Mixed, 1, &mut files);
        assert!(block_on(packed).unwrap_err().to_string().contains(reason));
    }
}

/// The packed file with another metadata entry.
fn with_metadata(edit: impl FnOnce(&str) -> String) -> MemorySource {
    let files = packed(Quant::Q8, u64::MAX);
    let size = block_on(files.size(FILE)).unwrap().unwrap();
    let bytes = block_on(files.read(FILE, 0..size)).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: serde_json::Value = serde_json::from_slice(header).unwrap();
    let entry = &mut header["__metadata__"][packed::METADATA_KEY];
    *entry = edit(entry.as_str().unwrap()).into();
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    let mut source = MemorySource::default();
    source.insert(FILE, [&length, header.as_bytes(), data].concat());
    source
}

#[test]
fn hostile_metadata_are_named() {
    let good = block_on(Weights::open(&with_metadata(str::to_owned), "unet", Prefer::Full)).map(|_| ());
    assert_eq!(good, Ok(()));
    let cases = [
        ("[41,70]", "[41,170]", "belongs"),
        ("[41,70]", "[4294967296,4294967296]", "does not know"),
        ("[41,70]", "[18446744073709551615,70]", "does not know"),
        ("[41,70]", "[0,70]", "does not know"),
        ("[41,70]", "[41]", "does not know"),
        ("[41,70]", "[-41,70]", "does not parse"),
        ("[41,70]", "[41,70],\"axis\":2", "does not parse"),
        ("[8,40,3,3]", "[8,40,3]", "does not know"),
        ("\"axis\":0", "\"axis\":7", "does not know"),
        ("\"axis\":0", "\"axis\":1", "belongs"),
        ("\"axis\":0", "\"axes\":0", "does not parse"),
        ("\"q8\"", "\"q4\"", "belongs"),
        ("\"q8\"", "\"q5\"", "does not know"),
        ("layer.weight", "other.weight", "has no tensor `other.weight`"),
        ("layer.weight", "norm.weight", "has no tensor `norm.weight.scale`"),
        ("{", "", "does not parse"),
    ];
    for (from, to, words) in cases {
        let source = with_metadata(|text| {
            assert!(text.contains(from), "{from} in {text}");
            text.replace(from, to)
        });
        let error = block_on(Weights::open(&source, "unet", Prefer::Full)).err().unwrap();
        assert_eq!(error.code(), "bad_safetensors", "{from} to {to}");
        assert!(error.to_string().contains(words), "{from} to {to}: {error}");
    }
}

use super::dump::{NamedTensor, TensorData, write};
use super::source::MemorySource;
use super::*;

fn file(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let named = |(name, shape): &(&str, &[usize])| {
        let count: usize = shape.iter().product();
        let data = TensorData::F32((0..count).map(|i| i as f32).collect());
        NamedTensor { name: (*name).to_owned(), shape: shape.to_vec(), data }
    };
    write("x", &tensors.iter().map(named).collect::<Vec<_>>()).unwrap()
}

fn source(files: &[(&str, Vec<u8>)]) -> MemorySource {
    let mut source = MemorySource::default();
    for (path, bytes) in files {
        source.insert(*path, bytes.clone());
    }
    source
}

#[test]
fn the_preferred_variant_is_taken_and_the_other_when_alone() {
    let (full, half) =
        ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors");
    let bytes = file(&[("a", &[1])]);
    let both = source(&[(full, bytes.clone()), (half, bytes.clone())]);
    let one = source(&[(half, bytes.clone())]);
    let text = source(&[("text_encoder/model.safetensors", bytes)]);
    let open =
        |source, folder, prefer| block_on(Weights::open(source, folder, prefer)).unwrap().files()[0].clone();
    assert_eq!(open(&both, "unet", Prefer::Full), full);
    assert_eq!(open(&both, "unet", Prefer::Half), half);
    assert_eq!(open(&one, "unet", Prefer::Full), half);
    assert_eq!(open(&text, "text_encoder", Prefer::Half), "text_encoder/model.safetensors");
}

#[test]
fn shards() {
    let index =
        r#"{"metadata":{"total_size":12},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#;
    for name in ["diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.fp16.json"] {
        let path = format!("unet/{name}");
        let mut files = source(&[
            (&path, index.into()),
            ("unet/m-1.safetensors", file(&[("a", &[2])])),
            ("unet/m-2.safetensors", file(&[("b", &[1])])),
        ]);
        let weights = block_on(Weights::open(&files, "unet", Prefer::Full)).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(weights.bytes(), 12);
        assert_eq!(block_on(weights.read_f32("a", &[2])).unwrap(), [0.0, 1.0]);
        files.insert("unet/m-2.safetensors", file(&[("c", &[1])]));
        let error = block_on(Weights::open(&files, "unet", Prefer::Full)).err().unwrap();
        assert_eq!(error, Error::MissingTensor { file: "unet/m-2.safetensors".into(), tensor: "b".into() });
        files.insert(path, index.replace("m-1", "../m-1"));
        let error = block_on(Weights::open(&files, "unet", Prefer::Full)).err().unwrap();
        assert_eq!(error.code(), "bad_config");
    }
}

#[test]
fn pickles_and_nothing() {
    let pickle = source(&[("vae/diffusion_pytorch_model.bin", vec![0x80])]);
    let error = block_on(Weights::open(&pickle, "vae", Prefer::Full)).err().unwrap();
    assert!(error.to_string().contains("can run code"), "{error}");
    let error = block_on(Weights::open(&pickle, "text_encoder", Prefer::Full)).err().unwrap();
    assert_eq!(error, Error::FileNotFound { file: "text_encoder/model.safetensors".into() });
}

#[test]
fn tensors_by_current_and_old_names() {
    let bytes = file(&[
        ("encoder.mid_block.attentions.0.query.weight", &[2, 2, 1, 1]),
        ("final_layer_norm.bias", &[3]),
        ("text_model.final_layer_norm.weight", &[3]),
    ]);
    let files = source(&[("vae/model.safetensors", bytes)]);
    let weights = block_on(Weights::open(&files, "vae", Prefer::Full)).unwrap();
    let query = "encoder.mid_block.attentions.0.to_q.weight";
    assert_eq!(weights.shape(query), Some([2, 2, 1, 1].as_slice()));
    assert_eq!(block_on(weights.read_f32(query, &[2, 2])).unwrap(), [0.0, 1.0, 2.0, 3.0]);
    assert!(weights.contains("text_model.final_layer_norm.bias"));
    assert!(weights.contains("final_layer_norm.weight"));
    let error = block_on(weights.read_f32("nope", &[1])).unwrap_err();
    assert_eq!(error, Error::MissingTensor { file: "vae/model.safetensors".into(), tensor: "nope".into() });
    let error = block_on(weights.read_f32("final_layer_norm.bias", &[4])).unwrap_err();
    assert_eq!(error.code(), "tensor_shape");
}

#[test]
fn integers_are_refused_as_weights() {
    let ids = NamedTensor { name: "ids".into(), shape: vec![1], data: TensorData::I64(vec![3]) };
    let files = source(&[("x.safetensors", write("x", &[ids]).unwrap())]);
    let weights = block_on(Weights::open_file(&files, "x.safetensors")).unwrap();
    let error = block_on(weights.read_f32("ids", &[1])).unwrap_err();
    assert_eq!(error.code(), "unsupported_dtype");
}

#[test]
fn a_huge_shape_of_an_unknown_format_allocates_nothing() {
    let shape = [1usize << 31, 1 << 20];
    let json = format!(r#"{{"a":{{"dtype":"F4","shape":{shape:?},"data_offsets":[0,0]}}}}"#);
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    let files = source(&[("x.safetensors", bytes)]);
    let weights = block_on(Weights::open_file(&files, "x.safetensors")).unwrap();
    assert_eq!(block_on(weights.read_f32("a", &shape)).unwrap_err().code(), "unsupported_dtype");
    assert_eq!(block_on(weights.read_rows_f32("a", shape, &[0])).unwrap_err().code(), "unsupported_dtype");
}

#[test]
fn a_tensor_larger_than_a_piece() {
    let count = PIECE_BYTES as usize / 4 + 3;
    let files = source(&[("x.safetensors", file(&[("first", &[1]), ("large", &[count])]))]);
    let weights = block_on(Weights::open_file(&files, "x.safetensors")).unwrap();
    let large = block_on(weights.read_f32("large", &[count])).unwrap();
    assert_eq!(large.len(), count);
    assert!((0..count).step_by(65_537).chain([count - 1]).all(|i| large[i] == i as f32));
}

#[test]
fn rows_in_the_order_asked_for() {
    let (count, width) = (1000, 256);
    let files = source(&[("x.safetensors", file(&[("table", &[count, width])]))]);
    let weights = block_on(Weights::open_file(&files, "x.safetensors")).unwrap();
    for rows in [vec![], vec![0], vec![999, 0, 5, 6, 5, 500, 0], (0..count).rev().collect()] {
        let read = block_on(weights.read_rows_f32("table", [count, width], &rows)).unwrap();
        let expected: Vec<f32> =
            rows.iter().flat_map(|row| (row * width..(row + 1) * width).map(|i| i as f32)).collect();
        assert_eq!(read, expected);
    }
    let error = block_on(weights.read_rows_f32("table", [count, width], &[1000])).unwrap_err();
    assert_eq!(error.code(), "bad_config");
    assert_eq!(runs(&[0, 5, 500, 501], 1024), [0..6, 500..502]);
    assert_eq!(runs(&[0, 1], PIECE_BYTES), [0..1, 1..2]);
}

#[test]
fn a_file_of_any_length_is_an_error_or_fine() {
    let bytes = file(&[("a", &[2, 2]), ("b", &[3])]);
    for cut in 0..bytes.len() {
        let files = source(&[("x.safetensors", bytes[..cut].to_vec())]);
        let error = block_on(Weights::open_file(&files, "x.safetensors")).err().unwrap();
        assert_eq!(error.code(), "bad_safetensors", "cut at {cut}");
    }
    let mut oversized = bytes;
    oversized[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let files = source(&[("x.safetensors", oversized)]);
    assert!(block_on(Weights::open_file(&files, "x.safetensors")).is_err());
}

#[test]
fn slices_are_bounded_and_make_the_whole() {
    // Six rows fit in a slice, but slices are of four.
    let shape = [9, SLICE_BYTES / 4 / 6, 1];
    let path = "unet/diffusion_pytorch_model.safetensors";
    let files = source(&[(path, file(&[("a", &shape)]))]);
    let weights = block_on(Weights::open(&files, "unet", Prefer::Full)).unwrap();
    let (mut rows, mut found) = (Vec::new(), Vec::new());
    let take = |slice: &[f32]| {
        rows.push(slice.len() / shape[1]);
        found.extend_from_slice(slice);
    };
    block_on(weights.read_f32_slices("a", &shape, 4, take)).unwrap();
    assert_eq!(rows, [4, 4, 1]);
    assert!(found == block_on(weights.read_f32("a", &shape)).unwrap());
}

//! `easel import` as a user runs it: from hosts that behave and that do not, from disk, and after interruptions.
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "support/command.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod command;
#[path = "support/host.rs"]
mod host;
#[path = "support/single_file.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod single_file;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use command::{Easel, GOLDENS, Output};
use host::{COMMIT, Conduct, Host};
use serde_json::Value;

/// Shards of a MiB, so that there are several.
fn import(folder: &Easel, source: &str, out: &str, more: &[&str]) -> Output {
    let out = folder.path(out).to_string_lossy().into_owned();
    let options = ["import", source, "--out", &out, "--quant", "mixed", "--shard-mib", "1"];
    command::run(&[&options, more].concat())
}

/// SHA-256 by path, from the manifest.
fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let manifest = fs::read(folder.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let files = manifest["files"].as_array().expect("files");
    files.iter().map(|file| (text(&file["path"]), text(&file["sha256"]))).collect()
}

/// The golden model, and the pack that every import of it must equal, as `pack`.
fn with_pack(name: &str) -> Easel {
    let folder = Easel::with_model(name, "sd1");
    let model = folder.path("model").to_string_lossy().into_owned();
    import(&folder, &model, "pack", &[]).success();
    folder
}

#[test]
fn every_source_gives_the_same_pack() {
    let folder = with_pack("import-sources");
    let [model, pack] = ["model", "pack"].map(|name| folder.path(name).to_string_lossy().into_owned());
    let expected = hashes(&folder.path("pack"));
    // The page's import gives these too (`tests/browser/import.spec.ts`).
    let golden = fs::read_to_string(format!("{GOLDENS}/../support/packed_sd1.json")).expect("a golden");
    let golden: BTreeMap<String, String> = serde_json::from_str(&golden).expect("JSON");
    let weights = expected.iter().filter(|(path, _)| path.ends_with(".safetensors"));
    assert_eq!(weights.map(|(path, hash)| (path.clone(), hash.clone())).collect::<BTreeMap<_, _>>(), golden);
    let options =
        ["pack", "--model", &model, "--out", &format!("{pack}-2"), "--quant", "mixed", "--shard-mib", "1"];
    command::run(&options).success();
    assert_eq!(hashes(&folder.path("pack-2")), expected);
    import(&folder, &pack, "copy", &[]).success();
    assert_eq!(hashes(&folder.path("copy")), expected);
    let host =
        Host::new(folder.path("model"), Conduct { cuts: vec![50_000, 9], busy: 1, ..Conduct::default() });
    import(&folder, "owner/name", "hub", &["--hub", &host.address]).success();
    assert_eq!(hashes(&folder.path("hub")), expected);
    let asked = std::mem::take(&mut host.conduct.lock().expect("no panic").asked);
    let of_main = asked.iter().filter(|path| path.contains("/resolve/main/")).count();
    // The manifest, which is not there, and the index, which is asked for once more since the host was busy.
    assert!(of_main <= 3 && asked.iter().any(|path| path.contains(COMMIT)), "{asked:?}");
    host.conduct.lock().expect("no panic").no_ranges = true;
    import(&folder, &format!("{}/plain", host.address), "plain", &[]).success();
    assert_eq!(hashes(&folder.path("plain")), expected);
    let packed = Host::new(folder.path("pack"), Conduct::default());
    import(&folder, &format!("{}/plain/", packed.address), "packed", &[]).success();
    assert_eq!(hashes(&folder.path("packed")), expected);
}

#[test]
fn an_interrupted_import_goes_on() {
    let folder = Easel::with_model("import-resume", "sd1");
    let model = Path::new(GOLDENS).join("../../models/starter");
    import(&folder, &model.to_string_lossy(), "pack", &[]).success();
    let host = Host::new(model, Conduct { refuse_after: Some(30 << 20), ..Conduct::default() });
    let hub = ["--hub", host.address.as_str()];
    import(&folder, "owner/name", "hub", &hub).failure("forbidden", &["terms"]);
    assert!(folder.path("hub.part/import.json").exists() && !folder.path("hub").exists());
    host.behave();
    let out = folder.path("hub").to_string_lossy().into_owned();
    let other = ["import", "owner/name", "--out", &out, "--quant", "q8"];
    command::run(&[&other[..], &hub].concat()).failure("io", &["another run"]);
    let first = std::mem::take(&mut host.conduct.lock().expect("no panic").sent);
    import(&folder, "owner/name", "hub", &hub).success();
    let mut expected = hashes(&folder.path("pack"));
    // A folder is copied with its notices and its list of things, of which a host could have any.
    expected.retain(|name, _| {
        !name.starts_with("LICENSE-") && !["NOTICE", "things.txt"].contains(&name.as_str())
    });
    assert_eq!(hashes(&folder.path("hub")), expected);
    let again = host.conduct.lock().expect("no panic").sent;
    // A shard of a MiB is 3 to 8 of the original; what lay in the connection's buffers is lost too.
    assert!(
        again < 30 << 20,
        "{again} bytes of 47 MB were fetched after the first 30 MiB ({first} by the other)"
    );
    assert!(!folder.path("hub.part").exists());
    assert!(!hashes(&folder.path("hub")).contains_key("import.json"));
}

#[test]
fn a_host_that_falls_silent_is_asked_again() {
    let folder = with_pack("import-silence");
    let conduct = Conduct { cuts: vec![50_000, 9], silent: true, ..Conduct::default() };
    let host = Host::new(folder.path("model"), conduct);
    let start = Instant::now();
    import(&folder, "owner/name", "hub", &["--hub", &host.address, "--patience", "1"]).success();
    // Two silences, and the waits after them.
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(hashes(&folder.path("hub")), hashes(&folder.path("pack")));
}

#[test]
fn hosts_say_in_their_own_ways_that_they_lack_a_file() {
    let folder = with_pack("import-absence");
    let expected = hashes(&folder.path("pack"));
    fs::write(folder.path("model/README.md"), "").expect("an empty file");
    let forbidden = "HTTP/1.1 403 Forbidden\r\n";
    for (name, absence) in
        [("refused", forbidden), ("page", "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n")]
    {
        let host = Host::new(folder.path("model"), Conduct { absence: Some(absence), ..Conduct::default() });
        import(&folder, &format!("{}/plain", host.address), name, &[]).success();
        let mut found = hashes(&folder.path(name));
        assert!(found.remove("README.md").is_some(), "an empty file is a file");
        assert_eq!(found, expected);
        let nothing = format!("{}/nothing", host.address);
        import(&folder, &nothing, "nothing", &[]).failure("file_not_found", &["model_index.json"]);
    }
    // A hub has a status for it.
    let conduct = Conduct { absence: Some(forbidden), ..Conduct::default() };
    let host = Host::new(folder.path("model"), conduct);
    import(&folder, "owner/name", "hub", &["--hub", &host.address]).failure("forbidden", &["terms"]);
}

#[test]
fn what_another_run_left_is_named() {
    let folder = Easel::with_model("import-left", "sd1");
    fs::create_dir(folder.path("out.part")).expect("a folder");
    let model = folder.path("model").to_string_lossy().into_owned();
    import(&folder, &model, "out", &[]).failure("io", &["out.part", "delete it"]);
}

#[test]
fn what_arrives_damaged_is_not_kept() {
    let folder = with_pack("import-damage");
    let host = Host::new(folder.path("model"), Conduct { flip: Some(".safetensors"), ..Conduct::default() });
    import(&folder, "owner/name", "hub", &["--hub", &host.address]).failure("damaged_file", &["SHA-256"]);
    assert_eq!(folder.names(), ["model", "pack"]);
    let address = format!("{}/nothing/", host.address);
    import(&folder, &address, "nothing", &[]).failure("file_not_found", &["model_index.json"]);
    for (source, name) in [("nowhere", "source"), ("https://user@host.example/x", "source")] {
        import(&folder, source, "nowhere", &[]).failure("bad_parameter", &[name]);
    }
}

/// Tensors of a checkpoint in an order in which the parts lie among each other.
fn mixed_up(file: &[u8]) -> single_file::TestResult<Vec<u8>> {
    let length = u64::from_le_bytes(*file.first_chunk().ok_or("a length")?) as usize;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&file[8..8 + length])?;
    let mut names: Vec<&String> = header.keys().filter(|name| *name != "__metadata__").collect();
    names.sort_by_key(|name| name.chars().rev().collect::<String>());
    let (mut made, mut data) = (serde_json::Map::new(), Vec::new());
    for name in names {
        let mut entry = header[name].clone();
        let [start, end] = [0, 1].map(|i| entry["data_offsets"][i].as_u64().unwrap_or_default() as usize);
        let begin = data.len();
        data.extend(&file[8 + length..][start..end]);
        entry["data_offsets"] = serde_json::json!([begin, data.len()]);
        made.insert(name.clone(), entry);
    }
    let json = serde_json::to_vec(&made)?;
    Ok([(json.len() as u64).to_le_bytes().as_slice(), &json, &data].concat())
}

#[test]
fn a_checkpoint_is_imported_as_from_disk() -> single_file::TestResult {
    let folder = Easel::with_model("import-checkpoint", "sd1");
    let host = Host::new(folder.path("host"), Conduct::default());
    let config = folder.path("model").to_string_lossy().into_owned();
    let config = ["--config", config.as_str()];
    fs::create_dir(folder.path("host"))?;
    let mut made = single_file::checkpoint("sd1")?;
    let unused = made.values().next().cloned().ok_or("a tensor")?;
    made.extend(["model_ema.a", "zeta"].map(|name| (name.to_owned(), unused.clone())));
    let in_order = single_file::file(&made, &serde_json::json!({}))?;
    for (name, bytes) in [("in-order", in_order.clone()), ("mixed-up", mixed_up(&in_order)?)] {
        let file = folder.path("host/model.safetensors");
        fs::write(&file, &bytes)?;
        let [disk, copy, hub, damaged] = ["disk", "copy", "hub", "damaged"].map(|to| format!("{name}-{to}"));
        import(&folder, &file.to_string_lossy(), &disk, &config).success();
        import(&folder, &format!("{}/plain/model.safetensors", host.address), &copy, &config).success();
        assert_eq!(hashes(&folder.path(&copy)), hashes(&folder.path(&disk)));
        fs::copy(&file, folder.path("host/my model.safetensors")).expect("a copy");
        let spaced = format!("{name}-spaced");
        import(&folder, &format!("{}/plain/my%20model.safetensors", host.address), &spaced, &config)
            .success();
        assert_eq!(hashes(&folder.path(&spaced)), hashes(&folder.path(&disk)));
        // The last bytes are of a tensor that nothing reads, and are checked all the same.
        let address = format!("{}/owner/name/resolve/main/model.safetensors", host.address);
        host.behave();
        import(&folder, &address, &hub, &config).success();
        assert_eq!(hashes(&folder.path(&hub)), hashes(&folder.path(&disk)));
        // All of it once, or with parts among each other once for each of the three; a byte more to meet it.
        let sent = host.conduct.lock().expect("no panic").sent;
        let passes = if name == "in-order" { 1 } else { 3 };
        assert_eq!(sent.div_ceil(bytes.len() + 1), passes, "{name}: {sent} bytes");
        host.conduct.lock().expect("no panic").flip = Some(".safetensors");
        import(&folder, &address, &damaged, &config).failure("damaged_file", &["SHA-256"]);
        assert!(!folder.path(&format!("{damaged}.part")).exists());
        host.behave();
    }
    Ok(())
}

#[test]
fn the_hash_of_a_checkpoint_outlives_an_interruption() -> single_file::TestResult {
    let folder = Easel::with_model("import-checkpoint-resume", "sd1");
    fs::create_dir(folder.path("host"))?;
    let config = folder.path("model").to_string_lossy().into_owned();
    let made = single_file::checkpoint("sd1")?;
    let bytes = single_file::file(&made, &serde_json::json!({}))?;
    fs::write(folder.path("host/model.safetensors"), &bytes)?;
    let refuse_after = Some(bytes.len() * 2 / 3);
    for (name, flip) in [("right", None), ("wrong", Some(".safetensors"))] {
        let host = Host::new(folder.path("host"), Conduct { refuse_after, ..Conduct::default() });
        let address = format!("{}/owner/name/resolve/main/model.safetensors", host.address);
        let hub = ["--hub", "http://hub.example/", "--config", &config];
        import(&folder, &address, name, &hub).failure("forbidden", &["403"]);
        host.behave();
        // What was written so far may be of other configs.
        let prediction = [&hub[..], &["--prediction-type", "v_prediction"]].concat();
        for other in [&hub[..2], prediction.as_slice()] {
            import(&folder, &address, name, other).failure("io", &["another run"]);
        }
        host.conduct.lock().expect("no panic").flip = flip;
        let again = import(&folder, &address, name, &hub);
        if flip.is_some() {
            again.failure("damaged_file", &["SHA-256"]);
        } else {
            again.success();
            // The first part was there, the text encoder, and the header is read again.
            let of_encoder: usize = made
                .iter()
                .filter(|(name, _)| name.starts_with("cond"))
                .map(|(_, raw)| raw.bytes.len())
                .sum();
            let starts = std::mem::take(&mut host.conduct.lock().expect("no panic").starts);
            let later = starts.iter().filter(|start| **start > 8).min();
            assert!(later.is_some_and(|start| *start > of_encoder), "{starts:?} after {of_encoder}");
        }
    }
    Ok(())
}

#[test]
fn a_gated_model_is_fetched_with_a_token_that_only_the_hub_sees() {
    let folder = with_pack("import-gated");
    let token = "hf_secret0123";
    let conduct = || Conduct { token: Some(token), ..Conduct::default() };
    let host = Host::new(folder.path("model"), conduct()).with_storage_elsewhere();
    let hub = ["--hub", host.address.as_str()];
    let file = folder.path("token");
    fs::write(&file, format!("{token}\n")).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let with_token = [&hub[..], &["--token-file", file.as_str()]].concat();
    let page = format!("{}/owner/name", host.address);
    import(&folder, "owner/name", "a", &hub).failure("forbidden", &[&page, "terms", "--token-file"]);
    // The storage refuses requests that show the token.
    import(&folder, "owner/name", "b", &with_token).success();
    assert_eq!(hashes(&folder.path("b")), hashes(&folder.path("pack")));
    let out = folder.path("by-variable").to_string_lossy().into_owned();
    let by_variable = [&["import", "owner/name", "--out", &out], &hub[..]].concat();
    command::run_with_token(&by_variable, token).success();
    let with = |status, reason| host.conduct.lock().expect("no panic").refusal = Some((status, reason));
    host.conduct.lock().expect("no panic").token = Some("another");
    with(401, "");
    import(&folder, "owner/name", "c", &with_token).failure("forbidden", &["did not take", "valid"]);
    import(&folder, "owner/name", "c", &hub).failure("model_not_found", &["owner/name", "HF_TOKEN"]);
    with(404, "RepoNotFound");
    import(&folder, "owner/name", "c", &with_token).failure("model_not_found", &["spelling"]);
    with(404, "RevisionNotFound");
    import(&folder, "owner/name", "c", &with_token).failure("model_not_found", &["revision"]);
    with(403, "GatedRepo");
    import(&folder, "owner/name", "c", &with_token).failure("forbidden", &["accept", "again"]);
    for (text, reason) in [("", "holds no token"), ("one two", "without blanks")] {
        fs::write(&file, text).expect("a file");
        import(&folder, "owner/name", "d", &with_token).failure("bad_parameter", &["token-file", reason]);
    }
    // No token for a host that is not the hub, though it is the same machine.
    let elsewhere = format!("{}/plain/", host.address.replace("127.0.0.1", "localhost"));
    fs::write(&file, token).expect("a file");
    import(&folder, &elsewhere, "e", &with_token).success();
}

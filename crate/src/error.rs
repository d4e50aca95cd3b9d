//! The one error type. Every variant has a stable [`Error::code`] and a sentence that names the file,
//! tensor or field and says what to do.

/// What can go wrong anywhere in Easel.
///
/// Texts end in the most variable part and never contain secrets. Codes are part of the public interface.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that the model needs is not there.
    #[error("{file} is missing: check that the whole model was copied or downloaded")]
    FileNotFound {
        /// Path relative to the model's root.
        file: String,
    },
    /// Reading or writing failed below us.
    #[error("{file} could not be read or written: {reason}")]
    Io {
        /// Path relative to the model's root, or as the user gave it.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// The source of the model's files failed; it says how in its own words.
    #[error("{reason}")]
    Source {
        /// The source's own code.
        code: String,
        /// A sentence that names the file and says what to do.
        reason: String,
    },
    /// A configuration file does not parse, or a field holds what it must not.
    #[error("{file}: field `{field}` {reason}")]
    Config {
        /// Path relative to the model's root.
        file: String,
        /// Name of the field, or `(document)` when it is not JSON at all.
        field: String,
        /// A clause that continues "field `x` …".
        reason: String,
    },
    /// A class named in `model_index.json` or a config that Easel does not run.
    #[error("{file}: `{class}` is not supported; Easel runs {supported}")]
    UnsupportedClass {
        /// Path relative to the model's root.
        file: String,
        /// The class as the file spells it.
        class: String,
        /// What would have been accepted.
        supported: String,
    },
    /// A safetensors file is damaged or hostile.
    #[error("{file} is not a valid safetensors file: {reason}; fetch it again")]
    Safetensors {
        /// Path relative to the model's root.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not the one that the model's manifest names.
    #[error("{file} is damaged or does not belong to the model: {reason}; fetch it again")]
    DamagedFile {
        /// Path relative to the model's root.
        file: String,
        /// What differs.
        reason: String,
    },
    /// A weight that the architecture needs is in none of the files.
    #[error("{file} has no tensor `{tensor}`: the weights do not belong to this config")]
    MissingTensor {
        /// File or folder that was searched.
        file: String,
        /// Full name of the tensor.
        tensor: String,
    },
    /// A weight has another shape than the config says.
    #[error("{file}: tensor `{tensor}` has shape {found:?}, the config asks for {expected:?}")]
    TensorShape {
        /// File that holds it.
        file: String,
        /// Full name of the tensor.
        tensor: String,
        /// Shape by the config.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A weight is stored in a number format that Easel does not read.
    #[error("{file}: tensor `{tensor}` is stored as {dtype}; Easel reads F32, F16 and BF16")]
    UnsupportedDtype {
        /// File that holds it.
        file: String,
        /// Full name of the tensor.
        tensor: String,
        /// Format as the file spells it.
        dtype: String,
    },
    /// A file is no picture, or one that is too large.
    #[error("{file} is not a PNG, JPEG or WebP picture that can be read: {reason}")]
    Image {
        /// The file as the user gave it.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tokenizer file does not parse.
    #[error("{file}: {reason}")]
    Tokenizer {
        /// Path relative to the model's root.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A prompt that cannot be understood.
    #[error("prompt: {reason}")]
    Prompt {
        /// What is wrong, where, and how to write it.
        reason: String,
    },
    /// A LoRA that the model cannot take.
    #[error("the LoRA {file} {reason}")]
    Lora {
        /// Its file.
        file: String,
        /// A clause that continues "the LoRA …".
        reason: String,
    },
    /// A request parameter is out of range.
    #[error("{name} {reason}")]
    Parameter {
        /// Name of the parameter as the user wrote it.
        name: String,
        /// A clause that continues "`name` …".
        reason: String,
    },
    /// A model computed numbers that make no picture.
    #[error("the model computes numbers that are not finite, and the picture was discarded: {reason}")]
    NotFinite {
        /// Which part of the model, and what to do.
        reason: String,
    },
    /// No usable GPU.
    #[error("no usable GPU adapter ({reason}); choose the CPU device or another browser")]
    NoAdapter {
        /// What the system said.
        reason: String,
    },
    /// The GPU rejected work: a shader, a binding, an allocation.
    #[error("the GPU reported an error, and the picture was discarded: {reason}")]
    Gpu {
        /// What the driver said.
        reason: String,
    },
    /// The GPU went away (driver reset, tab in the background, memory exhausted).
    #[error(
        "the GPU device was lost; load the model again, with a smaller size if memory was short: {reason}"
    )]
    DeviceLost {
        /// What the driver said.
        reason: String,
    },
    /// More memory was asked for than there is.
    #[error("out of memory; choose a smaller size: {reason}")]
    OutOfMemory {
        /// What was being allocated.
        reason: String,
    },
}

impl Error {
    /// Stable name of the kind of error, for programs; reaches JavaScript as `Error.code`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::FileNotFound { .. } => "file_not_found",
            Self::Io { .. } => "io",
            Self::Source { code, .. } => code,
            Self::Config { .. } => "bad_config",
            Self::UnsupportedClass { .. } => "unsupported_class",
            Self::Safetensors { .. } => "bad_safetensors",
            Self::DamagedFile { .. } => "damaged_file",
            Self::MissingTensor { .. } => "missing_tensor",
            Self::TensorShape { .. } => "tensor_shape",
            Self::UnsupportedDtype { .. } => "unsupported_dtype",
            Self::Image { .. } => "bad_image",
            Self::Tokenizer { .. } => "bad_tokenizer",
            Self::Prompt { .. } => "bad_prompt",
            Self::Lora { .. } => "bad_lora",
            Self::Parameter { .. } => "bad_parameter",
            Self::NotFinite { .. } => "not_finite",
            Self::NoAdapter { .. } => "no_adapter",
            Self::Gpu { .. } => "gpu",
            Self::DeviceLost { .. } => "device_lost",
            Self::OutOfMemory { .. } => "out_of_memory",
        }
    }
}

/// `Result` with Easel's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

//! libtorch's messages, cut to the part that a person can use.

use crate::torch::TorchError;
use std::any::Any;

/// The message without the stack and place that C++ adds.
pub fn cut(text: &str) -> String {
    let text = text.strip_prefix("Internal torch error: ").unwrap_or(text);
    let end = ["Exception raised from", "C++ CapturedTraceback", "frame #0:"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    text[..end].trim().trim_end_matches('(').trim().to_string()
}

/// The error a message of libtorch stands for.
pub fn error(text: &str) -> TorchError {
    let text = cut(text);
    // So C++ says it where our own kernels find no room.
    if text == "std::bad_alloc" {
        return TorchError::OutOfMemory("the system gives no more".into());
    }
    let signs = ["out of memory", "can't allocate memory", "not enough memory"];
    if signs.iter().any(|sign| text.contains(sign)) {
        let reason = text.rsplit_once("DefaultCPUAllocator: ").map_or(text.as_str(), |(_, reason)| reason);
        return TorchError::OutOfMemory(reason.to_string());
    }
    TorchError::Operation(text)
}

/// The error that a caught panic stands for, if it was one of tch's: its plain operations panic with libtorch's message.
pub fn of_panic(payload: &(dyn Any + Send)) -> Option<TorchError> {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())?;
    let (_, message) = text.split_once(": Torch(\"")?;
    let message = message.strip_suffix("\")").unwrap_or(message);
    Some(error(&message.replace("\\n", "\n").replace("\\\"", "\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_before_the_stack_of_cpp() {
        let text = "Internal torch error: size mismatch, got input (4)\nException raised from addmm at x.cpp:1 (most recent call first):\nframe #0: c10";
        assert_eq!(cut(text), "size mismatch, got input (4)");
        assert_eq!(cut("plain"), "plain");
    }

    #[test]
    fn out_of_memory_is_told_apart() {
        for text in ["DefaultCPUAllocator: can't allocate memory: you tried", "std::bad_alloc"] {
            assert!(matches!(error(text), TorchError::OutOfMemory(_)), "{text}");
        }
    }

    #[test]
    fn a_panic_of_tch_is_read() {
        let payload =
            std::panic::catch_unwind(|| tch::Tensor::from_slice(&[1f32, 2.0]).view([3])).unwrap_err();
        let error = of_panic(payload.as_ref()).unwrap().to_string();
        assert_eq!(error, "libtorch: shape '[3]' is invalid for input of size 2");
        let short =
            || Err::<(), _>(tch::TchError::Torch("DefaultCPUAllocator: can't allocate memory: x".into()));
        let payload = std::panic::catch_unwind(|| short().expect("shapes were checked")).unwrap_err();
        let error = of_panic(payload.as_ref()).unwrap();
        assert!(matches!(error, TorchError::OutOfMemory(why) if why == "can't allocate memory: x"));
        let other = std::panic::catch_unwind(|| panic!("mine")).unwrap_err();
        assert!(of_panic(other.as_ref()).is_none());
    }
}

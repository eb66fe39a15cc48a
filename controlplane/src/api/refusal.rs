//! Refusals as gRPC statuses.

use tonic::{Code, Status};

use crate::{
    fleet::Denial,
    model::{Fault, Refusal},
    store::StoreFault,
};

/// Bytes of a status message at most: it travels in a header.
const MESSAGE_BYTES_MAX: usize = 6 * 1024;

/// The status of faulty input.
pub fn invalid(faults: Vec<Fault>) -> Status {
    refused(&Refusal::Invalid(faults))
}

/// The status of a refused change.
pub fn refused(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::Invalid(_) => Code::InvalidArgument,
        Refusal::Missing { .. } => Code::NotFound,
        Refusal::Exists { .. } | Refusal::SameUrl { .. } => Code::AlreadyExists,
        Refusal::Stale { .. } => Code::Aborted,
        Refusal::InUse { .. } => Code::FailedPrecondition,
    };
    Status::new(code, bounded(refusal.to_string()))
}

/// The status of a change that the store did not make.
pub fn unmade(fault: StoreFault) -> Status {
    match fault {
        StoreFault::Refused(refusal) => refused(&refusal),
        StoreFault::Denied(denial) => {
            let code = match &denial {
                Denial::Missing(_) => Code::NotFound,
                Denial::Other { .. } | Denial::Stale { .. } => Code::Aborted,
                Denial::Full => Code::ResourceExhausted,
                Denial::Dead { .. }
                | Denial::Twice { .. }
                | Denial::Unlocked { .. }
                | Denial::Alone { .. } => Code::FailedPrecondition,
            };
            Status::new(code, bounded(denial.to_string()))
        }
        StoreFault::Down(_) | StoreFault::Unknown => Status::unavailable(bounded(fault.to_string())),
    }
}

/// Whole lines, as many as fit.
fn bounded(message: String) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message;
    }
    let mut short = String::new();
    for line in message.lines() {
        if short.len() + line.len() > MESSAGE_BYTES_MAX {
            break;
        }
        short.push_str(line);
        short.push('\n');
    }
    short + "and more"
}

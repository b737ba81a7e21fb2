//! A call, event by event: orders that have gone wrong in servers like this.

#![expect(clippy::unchecked_time_subtraction, reason = "these constants are longer than a second")]

mod agreeing;
mod doubts;
mod endings;
mod guards;
mod guided;
mod guided_consent;
mod guided_methods;
mod methods;
mod other_tools;
mod payments;
mod replies;
mod shielding;
mod statements;
mod without_telephone;

use std::time::Duration;

use super::bench::*;
use super::*;
use crate::payment::{Answer, Change, Entry, Field};

const SECOND: Duration = Duration::from_secs(1);

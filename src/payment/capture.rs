//! stub
#[derive(Debug)]
pub enum Answer {}
#[derive(Debug)]
pub struct Capture;
#[derive(Debug)]
pub enum Meaning {}
#[derive(Debug)]
pub enum Misfit {}
#[derive(Debug)]
pub enum Stage {}

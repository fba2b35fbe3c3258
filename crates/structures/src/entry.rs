//! Entry: a key with its value, expiry and metadata, in one block of memory.
//!
//! ```text
//! narrow (key and value up to 255 bytes)          wide (anything longer)
//! ┌────┬────────┬────┬────┬───────────┬─────┬───────┐  ┌────┬────────┬─────────┬───────────┬──────…
//! │form│ access │klen│vlen│ expire_at │ key │ value │  │form│ access │klen vlen│ expire_at │ key …
//! │ 1  │   3    │ 1  │ 1  │  0 or 8   │klen │ vlen  │  │ 1  │   3    │ 4    4  │  0 or 8   │
//! └────┴────────┴────┴────┴───────────┴─────┴───────┘  └────┴────────┴─────────┴───────────┴──────…
//! ```
//!
//! A 16-byte key with a 10-byte value takes a block of 32 bytes. An integer value is stored in
//! place, in 8 bytes. A string that is long, was changed in the middle or appended to is a
//! `LongString` outside of the block, which holds its pointer. Small collections are packed in the
//! block; large ones are boxed, and the block holds their pointer.
//!
//! Not here: where entries are found (`table`), when they expire (`wheel`), which code may change
//! them (`keyspace`).

use std::borrow::Cow;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::block;
use crate::collection::{Collection, Kind};
use crate::long_string::{Body, LongString, TextChange};
use crate::prefetch::prefetch;

const FORM_ENCODING: u8 = 0b0000_1111;
const FORM_HAS_EXPIRY: u8 = 0b0001_0000;
const FORM_WIDE: u8 = 0b0010_0000;
const FORM_CHANGED: u8 = 0b0100_0000;

/// What a wide header can count.
const BLOCK_PART_BYTES_MAX: usize = u32::MAX as usize;

const NARROW_HEADER: usize = 6;
const WIDE_HEADER: usize = 12;
const EXPIRY_BYTES: usize = 8;
const ACCESS_MASK: u32 = 0x00FF_FFFF;

/// Entries up to this size are placed so that fewer of them span two cache lines than necessary.
const ONE_LINE_BYTES: usize = 64;

/// LIMIT: bytes of a key, a string, an element. Their lengths have 32 bits in blocks and packed runs, and
/// their surroundings there (heads, neighbours, spare capacity) must fit too.
pub const TEXT_BYTES_MAX: usize = (4 << 30) - (1 << 20);

/// LIMIT: bytes of a small collection, as Redis has it for a listpack. Beyond, it is a large one.
pub const SMALL_BYTES_MAX: usize = 1 << 30;

/// Strings that grow by APPEND or SETRANGE beyond this move from the block to a buffer with spare
/// capacity.
const INLINE_GROWN_MAX: usize = 1024;

/// The longest string that Redis encodes as `embstr`.
const EMBSTR_BYTES_MAX: usize = 44;

/// How a value is stored. From `Long` on it is stored outside of the block, which holds its
/// pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Form {
    Inline = 0,
    Integer = 1,
    PackedList = 2,
    PackedHash = 3,
    PackedSet = 4,
    Intset = 5,
    PackedSorted = 6,
    Long = FORM_POINTER,
    Boxed = FORM_POINTER | 1,
}

/// The bit of the forms whose block holds a pointer.
const FORM_POINTER: u8 = 0b0000_1000;

/// A small collection, packed in its entry's block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Small {
    List,
    Hash,
    Set,
    /// A sorted set of integers, all of one width.
    Intset,
    Sorted,
}

impl Small {
    pub const fn kind(self) -> Kind {
        match self {
            Self::List => Kind::List,
            Self::Hash => Kind::Hash,
            Self::Set | Self::Intset => Kind::Set,
            Self::Sorted => Kind::Sorted,
        }
    }

    const fn form(self) -> Form {
        match self {
            Self::List => Form::PackedList,
            Self::Hash => Form::PackedHash,
            Self::Set => Form::PackedSet,
            Self::Intset => Form::Intset,
            Self::Sorted => Form::PackedSorted,
        }
    }
}

/// A string, borrowed to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

/// A value, borrowed to be read.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    String(Content<'a>),
    /// A small collection: its packed bytes.
    Small(Small, &'a [u8]),
    /// A large collection.
    Boxed(&'a Collection),
}

/// The encoding of a value, by the name that OBJECT ENCODING returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Int,
    Embstr,
    Raw,
    Listpack,
    Quicklist,
    Hashtable,
    Intset,
    Skiplist,
    Stream,
}

impl Encoding {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Embstr => "embstr",
            Self::Raw => "raw",
            Self::Listpack => "listpack",
            Self::Quicklist => "quicklist",
            Self::Hashtable => "hashtable",
            Self::Intset => "intset",
            Self::Skiplist => "skiplist",
            Self::Stream => "stream",
        }
    }
}

/// A key with its value, expiry and metadata. Owns its block.
#[derive(Debug)]
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns its block alone; nothing in it is tied to a thread.
unsafe impl Send for Entry {}

/// The layout of a block, decoded from its first bytes.
#[derive(Clone, Copy)]
struct Shape {
    form: u8,
    key_at: usize,
    key_len: usize,
    value_len: usize,
}

impl Shape {
    #[inline]
    fn new(encoding: Form, key_len: usize, value_len: usize, has_expiry: bool) -> Self {
        let mut form = encoding as u8;
        let mut key_at = NARROW_HEADER;
        if key_len > 255 || value_len > 255 {
            form |= FORM_WIDE;
            key_at = WIDE_HEADER;
        }
        if has_expiry {
            form |= FORM_HAS_EXPIRY;
            key_at += EXPIRY_BYTES;
        }
        Self { form, key_at, key_len, value_len }
    }

    #[inline]
    fn value_at(&self) -> usize {
        self.key_at + self.key_len
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.key_at + self.key_len + self.value_len
    }

    /// The bytes to allocate. A block of 28 or 36 bytes would often span two cache lines where one
    /// of 32 or 40 does not; for longer blocks it makes no difference.
    #[inline]
    fn room(&self) -> usize {
        let bytes = self.bytes();
        if bytes <= ONE_LINE_BYTES { bytes.next_multiple_of(8) } else { bytes }
    }
}

impl Entry {
    /// A string entry. `access` is the 24-bit LRU or LFU word.
    pub fn string(key: &[u8], value: &[u8], expire_at_ms: Option<u64>, access: u32) -> Self {
        Self::with_value(Form::Inline, key, value, expire_at_ms, access)
    }

    /// An entry whose value is an integer, stored in place.
    pub fn integer(key: &[u8], value: i64, expire_at_ms: Option<u64>, access: u32) -> Self {
        Self::with_value(Form::Integer, key, &value.to_le_bytes(), expire_at_ms, access)
    }

    /// An entry whose value is a small collection, packed in the block.
    pub fn small(
        small: Small,
        key: &[u8],
        bytes: &[u8],
        expire_at_ms: Option<u64>,
        access: u32,
    ) -> Self {
        Self::with_value(small.form(), key, bytes, expire_at_ms, access)
    }

    /// An entry whose value is a large collection.
    pub fn boxed(
        key: &[u8],
        value: Box<Collection>,
        expire_at_ms: Option<u64>,
        access: u32,
    ) -> Self {
        let pointer = Box::into_raw(value).expose_provenance() as u64;
        Self::with_value(Form::Boxed, key, &pointer.to_le_bytes(), expire_at_ms, access)
    }

    /// An entry whose value is a long string.
    pub fn long(key: &[u8], value: LongString, expire_at_ms: Option<u64>, access: u32) -> Self {
        let pointer = value.into_raw().expose_provenance() as u64;
        Self::with_value(Form::Long, key, &pointer.to_le_bytes(), expire_at_ms, access)
    }

    #[inline]
    fn with_value(
        form: Form,
        key: &[u8],
        value: &[u8],
        expire_at_ms: Option<u64>,
        access: u32,
    ) -> Self {
        let entry = Self::with_parts(form, key, value.len(), expire_at_ms, access);
        let shape = entry.shape();
        // SAFETY: the block was made for this shape.
        unsafe { entry.write(shape.value_at(), value) };
        entry
    }

    fn with_parts(
        encoding: Form,
        key: &[u8],
        value_len: usize,
        expire_at_ms: Option<u64>,
        access: u32,
    ) -> Self {
        assert!(
            key.len() <= BLOCK_PART_BYTES_MAX && value_len <= BLOCK_PART_BYTES_MAX,
            "proto-max-bulk-len is at most TEXT_BYTES_MAX, and small collections end at SMALL_BYTES_MAX"
        );
        let shape = Shape::new(encoding, key.len(), value_len, expire_at_ms.is_some());
        let mut entry = Self(block::allocate(shape.room()));
        // SAFETY: the block has room for the whole shape, of which the header comes first.
        unsafe {
            entry.write(0, &[shape.form]);
            if shape.form & FORM_WIDE == 0 {
                entry.write(4, &[key.len() as u8, value_len as u8]);
            } else {
                entry.write(4, &(key.len() as u32).to_le_bytes());
                entry.write(8, &(value_len as u32).to_le_bytes());
            }
            if let Some(at) = expire_at_ms {
                entry.write(shape.key_at - EXPIRY_BYTES, &at.to_le_bytes());
            }
            entry.write(shape.key_at, key);
        }
        entry.set_access(access);
        entry
    }

    /// # Safety
    /// `at + bytes.len()` is within the block.
    #[inline]
    unsafe fn write(&self, at: usize, bytes: &[u8]) {
        // SAFETY: the caller keeps within the block, which is not shared.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(at), bytes.len());
        }
    }

    /// # Safety
    /// `at + N` is within the block's written bytes.
    #[inline]
    unsafe fn read<const N: usize>(&self, at: usize) -> [u8; N] {
        // SAFETY: the caller keeps within the written bytes; a byte array has no alignment.
        unsafe { self.0.as_ptr().add(at).cast::<[u8; N]>().read() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        // SAFETY: every block starts with a header, whose form gives its length.
        unsafe {
            let [form] = self.read::<1>(0);
            let (mut key_at, key_len, value_len) = if form & FORM_WIDE == 0 {
                let [key_len, value_len] = self.read::<2>(4);
                (NARROW_HEADER, usize::from(key_len), usize::from(value_len))
            } else {
                let key_len = u32::from_le_bytes(self.read::<4>(4));
                let value_len = u32::from_le_bytes(self.read::<4>(8));
                (WIDE_HEADER, key_len as usize, value_len as usize)
            };
            if form & FORM_HAS_EXPIRY != 0 {
                key_at += EXPIRY_BYTES;
            }
            Shape { form, key_at, key_len, value_len }
        }
    }

    #[inline]
    fn encoding_form(&self) -> Form {
        // SAFETY: the form is the first byte of every block.
        match unsafe { self.read::<1>(0) }[0] & FORM_ENCODING {
            0 => Form::Inline,
            1 => Form::Integer,
            2 => Form::PackedList,
            3 => Form::PackedHash,
            4 => Form::PackedSet,
            5 => Form::Intset,
            6 => Form::PackedSorted,
            FORM_POINTER => Form::Long,
            _ => Form::Boxed,
        }
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: the key is within the block.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().add(shape.key_at), shape.key_len) }
    }

    /// The string value; `None` for a collection.
    #[inline]
    pub fn content(&self) -> Option<Content<'_>> {
        let shape = self.shape();
        match self.encoding_form() {
            Form::Inline => Some(Content::Bytes(self.value_bytes(&shape))),
            Form::Integer => {
                // SAFETY: an integer takes the value's 8 bytes.
                let bytes = unsafe { self.read(shape.value_at()) };
                Some(Content::Integer(i64::from_le_bytes(bytes)))
            }
            // SAFETY: the pointer is this entry's own string, alive as long as the entry.
            Form::Long => Some(Content::Bytes(unsafe { &*self.pointer::<Body>(&shape) }.bytes())),
            _ => None,
        }
    }

    #[inline]
    pub fn value(&self) -> Value<'_> {
        let shape = self.shape();
        let small = match self.encoding_form() {
            Form::PackedHash => Small::Hash,
            Form::PackedList => Small::List,
            Form::PackedSet => Small::Set,
            Form::Intset => Small::Intset,
            Form::PackedSorted => Small::Sorted,
            // SAFETY: the pointer is this entry's own collection, alive as long as the entry.
            Form::Boxed => return Value::Boxed(unsafe { &*self.pointer(&shape) }),
            Form::Inline | Form::Integer | Form::Long => {
                return Value::String(self.content().expect("the form is that of a string"));
            }
        };
        Value::Small(small, self.value_bytes(&shape))
    }

    #[inline]
    fn value_bytes(&self, shape: &Shape) -> &[u8] {
        // SAFETY: the value is within the block.
        unsafe {
            std::slice::from_raw_parts(self.0.as_ptr().add(shape.value_at()), shape.value_len)
        }
    }

    /// What the pointer in the block points to; the form decides the type.
    #[inline]
    fn pointer<T>(&self, shape: &Shape) -> *mut T {
        // SAFETY: a pointer takes the value's 8 bytes.
        let address = u64::from_le_bytes(unsafe { self.read(shape.value_at()) });
        std::ptr::with_exposed_provenance_mut(address as usize)
    }

    /// The long string that is here, to be shared.
    #[inline]
    pub fn long_string(&self) -> Option<LongString> {
        self.own_long_string().map(|own| LongString::clone(&own))
    }

    /// The long string that is here, not counted.
    #[inline]
    fn own_long_string(&self) -> Option<ManuallyDrop<LongString>> {
        if self.encoding_form() != Form::Long {
            return None;
        }
        let pointer = self.pointer::<Body>(&self.shape());
        // SAFETY: the pointer is this entry's own string; the copy of it that is made here is forgotten.
        Some(ManuallyDrop::new(unsafe { LongString::from_raw(pointer) }))
    }

    /// The type of the value.
    pub fn kind(&self) -> Kind {
        match self.value() {
            Value::String(_) => Kind::String,
            Value::Small(small, _) => small.kind(),
            Value::Boxed(collection) => collection.kind(),
        }
    }

    /// The large collection; `None` for other values.
    #[inline]
    pub fn collection(&self) -> Option<&Collection> {
        match self.value() {
            Value::Boxed(collection) => Some(collection),
            _ => None,
        }
    }

    /// The large collection, to be changed; `None` for other values.
    #[inline]
    pub fn collection_mut(&mut self) -> Option<&mut Collection> {
        if self.encoding_form() != Form::Boxed {
            return None;
        }
        let shape = self.shape();
        // SAFETY: the pointer is this entry's own collection and the borrow of the entry is exclusive.
        Some(unsafe { &mut *self.pointer::<Collection>(&shape) })
    }

    /// Moves the large collection out, to be freed in slices. Returns the entry itself if it has
    /// none.
    pub fn into_collection(self) -> Result<Box<Collection>, Self> {
        let shape = self.shape();
        if self.encoding_form() != Form::Boxed {
            return Err(self);
        }
        // SAFETY: the pointer was made by `Box::into_raw`. The form is overwritten, so that the entry's
        // own drop takes the eight bytes for a string.
        unsafe {
            self.write(0, &[(shape.form & !FORM_ENCODING) | Form::Inline as u8]);
            Ok(Box::from_raw(self.pointer::<Collection>(&shape)))
        }
    }

    /// The length of the string in bytes; `None` for a collection.
    pub fn text_len(&self) -> Option<usize> {
        self.content().map(|content| match content {
            Content::Bytes(bytes) => bytes.len(),
            Content::Integer(value) => decimal_len(value),
        })
    }

    /// How long the string that is here may become without another block: 0 if it is shared, since a change copies it.
    pub fn text_room(&self) -> usize {
        match self.own_long_string() {
            Some(own) if own.is_shared() => 0,
            Some(own) => own.capacity(),
            None => self.text_len().unwrap_or(0),
        }
    }

    pub fn encoding(&self) -> Encoding {
        let shape = self.shape();
        match self.value() {
            Value::String(Content::Integer(_)) => Encoding::Int,
            Value::String(Content::Bytes(_))
                if shape.form & (FORM_CHANGED | FORM_POINTER) == 0
                    && shape.value_len <= EMBSTR_BYTES_MAX =>
            {
                Encoding::Embstr
            }
            Value::String(Content::Bytes(_)) => Encoding::Raw,
            Value::Small(Small::Intset, _) => Encoding::Intset,
            Value::Small(..) => Encoding::Listpack,
            Value::Boxed(collection) => collection.encoding(),
        }
    }

    /// The expiry in Unix milliseconds; `None` if the key does not expire.
    #[inline]
    pub fn expire_at_ms(&self) -> Option<u64> {
        // SAFETY: the form is the first byte of every block.
        let [form] = unsafe { self.read::<1>(0) };
        if form & FORM_HAS_EXPIRY == 0 {
            return None;
        }
        let at = if form & FORM_WIDE == 0 { NARROW_HEADER } else { WIDE_HEADER };
        // SAFETY: the form says that the expiry follows the header.
        Some(u64::from_le_bytes(unsafe { self.read(at) }))
    }

    /// The 24-bit LRU or LFU word, as in Redis.
    #[inline]
    pub fn access(&self) -> u32 {
        // SAFETY: the access word is part of every header.
        let [_, a, b, c] = unsafe { self.read::<4>(0) };
        u32::from_le_bytes([a, b, c, 0])
    }

    #[inline]
    pub fn set_access(&mut self, access: u32) {
        let [a, b, c, _] = (access & ACCESS_MASK).to_le_bytes();
        // SAFETY: the access word is part of every header.
        unsafe { self.write(1, &[a, b, c]) };
    }

    /// Records that the string was changed in the middle or appended to, which Redis reports as
    /// `raw`.
    pub fn mark_changed(&mut self) {
        // SAFETY: the form is the first byte of every block.
        unsafe {
            let [form] = self.read::<1>(0);
            self.write(0, &[form | FORM_CHANGED]);
        }
    }

    /// Whether OBJECT ENCODING reports a string as `raw` whatever its length.
    pub fn is_changed(&self) -> bool {
        // SAFETY: the form is the first byte of every block.
        self.encoding_form() == Form::Long || unsafe { self.read::<1>(0) }[0] & FORM_CHANGED != 0
    }

    /// Overwrites the integer in place. The value must be an integer.
    pub fn replace_integer(&mut self, value: i64) {
        assert!(self.encoding_form() == Form::Integer, "only an integer is replaced in place");
        let shape = self.shape();
        // SAFETY: an integer takes the value's 8 bytes.
        unsafe { self.write(shape.value_at(), &value.to_le_bytes()) };
    }

    /// Overwrites the value with a string in place, and sets, removes or replaces the expiry.
    /// Returns false, without a change, if the block does not fit the result: then a new entry is
    /// needed.
    #[inline]
    pub fn overwrite_string(&mut self, value: &[u8], expire_at_ms: Option<u64>) -> bool {
        self.overwrite(Form::Inline, value, expire_at_ms)
    }

    #[inline]
    fn overwrite(&mut self, form: Form, value: &[u8], expire_at_ms: Option<u64>) -> bool {
        let shape = self.shape();
        if shape.form & FORM_POINTER != 0 {
            return false;
        }
        let next = Shape::new(form, shape.key_len, value.len(), expire_at_ms.is_some());
        if next.key_at != shape.key_at
            || block::block_bytes(next.room()) != block::block_bytes(shape.room())
        {
            return false;
        }
        // SAFETY: both shapes have their key at one place and fit the same class of block; the header
        // is of one kind, since `key_at` and the expiry decide it together with the form below.
        unsafe {
            if (next.form ^ shape.form) & (FORM_WIDE | FORM_HAS_EXPIRY) != 0 {
                return false;
            }
            self.write(0, &[next.form]);
            if next.form & FORM_WIDE == 0 {
                self.write(5, &[value.len() as u8]);
            } else {
                self.write(8, &(value.len() as u32).to_le_bytes());
            }
            if let Some(at) = expire_at_ms {
                self.write(next.key_at - EXPIRY_BYTES, &at.to_le_bytes());
            }
            self.write(next.value_at(), value);
        }
        true
    }

    /// Replaces the value by this small collection; key, expiry and access word stay.
    pub fn set_small(&mut self, small: Small, bytes: &[u8]) {
        let expire_at_ms = self.expire_at_ms();
        if !self.overwrite(small.form(), bytes, expire_at_ms) {
            *self = Self::small(small, self.key(), bytes, expire_at_ms, self.access());
        }
    }

    /// The packed bytes of the small collection, for changes that keep their length.
    #[inline]
    pub fn small_mut(&mut self) -> Option<(Small, &mut [u8])> {
        let Value::Small(small, _) = self.value() else { return None };
        let shape = self.shape();
        // SAFETY: the value is within the block, and the borrow of the entry is exclusive.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(self.0.as_ptr().add(shape.value_at()), shape.value_len)
        };
        Some((small, bytes))
    }

    /// Replaces the value by this large collection; key, expiry and access word stay.
    pub fn set_boxed(&mut self, value: Box<Collection>) {
        *self = Self::boxed(self.key(), value, self.expire_at_ms(), self.access());
    }

    /// Overwrites a part of a string that is stored in the block. Returns false, without a change,
    /// if the value is not such a string or too short.
    pub fn overwrite_part(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let shape = self.shape();
        if shape.form & FORM_ENCODING != Form::Inline as u8
            || shape.value_len < bytes.len()
            || shape.value_len - bytes.len() < offset
        {
            return false;
        }
        // SAFETY: the part is within the value.
        unsafe { self.write(shape.value_at() + offset, bytes) };
        self.mark_changed();
        true
    }

    /// Sets or removes the expiry. If the block has to grow or shrink for that, the entry moves to
    /// another block.
    pub fn set_expire_at_ms(&mut self, expire_at_ms: Option<u64>) {
        let shape = self.shape();
        match (expire_at_ms, shape.form & FORM_HAS_EXPIRY != 0) {
            (None, false) => {}
            (Some(at), true) => {
                // SAFETY: the form says that the expiry precedes the key.
                unsafe { self.write(shape.key_at - EXPIRY_BYTES, &at.to_le_bytes()) };
            }
            _ => self.rebuild(expire_at_ms),
        }
    }

    /// Moves to a new block with or without an expiry; a long string is moved, not copied.
    fn rebuild(&mut self, expire_at_ms: Option<u64>) {
        let shape = self.shape();
        let next = Shape::new(
            self.encoding_form(),
            shape.key_len,
            shape.value_len,
            expire_at_ms.is_some(),
        );
        let moved = Self(block::allocate(next.room()));
        // SAFETY: the new block has room for its shape; header, key and value (or the string's pointer,
        // which thereby changes its owner) are copied from where the old shape has them.
        unsafe {
            let header = if next.form & FORM_WIDE == 0 { NARROW_HEADER } else { WIDE_HEADER };
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), moved.0.as_ptr(), header);
            moved.write(0, &[next.form | (shape.form & FORM_CHANGED)]);
            if let Some(at) = expire_at_ms {
                moved.write(header, &at.to_le_bytes());
            }
            std::ptr::copy_nonoverlapping(
                self.0.as_ptr().add(shape.key_at),
                moved.0.as_ptr().add(next.key_at),
                next.key_len + next.value_len,
            );
            block::release(self.0, shape.room());
        }
        let old = std::mem::replace(self, moved);
        std::mem::forget(old);
    }

    /// A copy of the value and its expiry under another key: what the block points to is copied, too.
    pub fn copy(&self, key: &[u8], access: u32) -> Self {
        let expire_at_ms = self.expire_at_ms();
        let mut copy = match self.value() {
            Value::String(Content::Integer(value)) => {
                Self::integer(key, value, expire_at_ms, access)
            }
            Value::String(Content::Bytes(bytes)) if self.encoding_form() == Form::Long => {
                return Self::long(key, LongString::from(bytes), expire_at_ms, access);
            }
            Value::String(Content::Bytes(bytes)) => Self::string(key, bytes, expire_at_ms, access),
            Value::Small(small, bytes) => Self::small(small, key, bytes, expire_at_ms, access),
            Value::Boxed(value) => Self::boxed(key, Box::new(value.clone()), expire_at_ms, access),
        };
        if self.is_changed() {
            copy.mark_changed();
        }
        copy
    }

    /// The same value, expiry and metadata under another key: what the block points to changes hands, what lies
    /// in the block is copied.
    pub fn with_key(self, key: &[u8]) -> Self {
        let shape = self.shape();
        let (form, access) = (self.encoding_form(), self.access());
        let value = self.value_bytes(&shape);
        let renamed = Self::with_value(form, key, value, self.expire_at_ms(), access);
        // SAFETY: the form is the first byte of every block; the old block was allocated for its shape's class,
        // and what it points to belongs to the new one from now on.
        unsafe {
            let [form] = renamed.read::<1>(0);
            renamed.write(0, &[form | (shape.form & FORM_CHANGED)]);
            block::release(self.0, shape.room());
        }
        std::mem::forget(self);
        renamed
    }

    /// Changes the string that is here.
    pub fn change_text(&mut self, change: &TextChange<'_>) {
        let shape = self.shape();
        if self.encoding_form() == Form::Long {
            let pointer = self.pointer::<Body>(&shape);
            // SAFETY: the pointer is this entry's own string, the borrow of the entry is exclusive, and what the
            // string is after the change takes its place.
            let mut string = unsafe { LongString::from_raw(pointer) };
            string.change(change);
            let pointer = string.into_raw().expose_provenance() as u64;
            // SAFETY: a pointer takes the value's 8 bytes.
            unsafe { self.write(shape.value_at(), &pointer.to_le_bytes()) };
            return;
        }
        let (key, expire_at_ms, access) = (self.key(), self.expire_at_ms(), self.access());
        let text = match self.content() {
            Some(Content::Bytes(bytes)) => Cow::Borrowed(bytes),
            Some(Content::Integer(value)) => Cow::Owned(value.to_string().into_bytes()),
            None => panic!("a collection is no string"),
        };
        let next = Self::changed(key, &text, change, expire_at_ms, access);
        *self = next;
    }

    /// An entry that holds a string that was changed.
    pub fn changed(
        key: &[u8],
        text: &[u8],
        change: &TextChange<'_>,
        expire_at_ms: Option<u64>,
        access: u32,
    ) -> Self {
        if change.len_after(text.len()) > INLINE_GROWN_MAX {
            let mut string = LongString::with_room_for(change.len_after(text.len()), text);
            string.change(change);
            return Self::long(key, string, expire_at_ms, access);
        }
        let mut text = text.to_vec();
        change.apply_to_vec(&mut text);
        let mut entry = Self::string(key, &text, expire_at_ms, access);
        entry.mark_changed();
        entry
    }

    /// The heap bytes of this entry, exactly as the allocator counts them. O(1).
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        let shape = self.shape();
        let own = block::block_bytes(shape.room());
        if shape.form & FORM_POINTER == 0 { own } else { own + self.pointed_bytes(&shape) }
    }

    /// The heap bytes of what the pointer in the block points to.
    fn pointed_bytes(&self, shape: &Shape) -> usize {
        if let Some(collection) = self.collection() {
            return collection.boxed_bytes();
        }
        // SAFETY: the pointer is this entry's own string.
        unsafe { &*self.pointer::<Body>(shape) }.heap_bytes()
    }

    #[inline]
    pub(crate) fn into_address(self) -> u64 {
        let address = self.0.as_ptr().expose_provenance() as u64;
        std::mem::forget(self);
        address
    }

    /// # Safety
    /// `address` came from [`Entry::into_address`] and no other entry is made from it.
    #[inline]
    pub(crate) unsafe fn from_address(address: u64) -> Self {
        let pointer = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: addresses of blocks are not null.
        Self(unsafe { NonNull::new_unchecked(pointer) })
    }

    #[inline]
    pub(crate) fn prefetch_address(address: u64) {
        prefetch(std::ptr::with_exposed_provenance(address as usize));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let shape = self.shape();
        if shape.form & FORM_POINTER != 0 {
            // SAFETY: the pointer is this entry's own, made of what the form says, and freed once.
            unsafe {
                if shape.form & FORM_ENCODING == Form::Boxed as u8 {
                    drop(Box::from_raw(self.pointer::<Collection>(&shape)));
                } else {
                    drop(LongString::from_raw(self.pointer::<Body>(&shape)));
                }
            }
        }
        // SAFETY: the block was allocated for this shape's class and is not used any more.
        unsafe { block::release(self.0, shape.room()) };
    }
}

pub(crate) fn decimal_len(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(value < 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;
    use crate::hash::KeyHasher;

    const KEY: &[u8] = b"key:000000000001";

    #[test]
    fn small_string_takes_32_bytes() {
        assert_eq!(Entry::string(KEY, b"0123456789", None, 0).heap_bytes(), 32);
        assert_eq!(Entry::string(KEY, b"0123456789", Some(1), 0).heap_bytes(), 40);
    }

    #[test]
    fn parts_come_back_in_every_shape() {
        for key_len in [0, 1, 16, 255, 256, 5000] {
            for value_len in [0, 1, 44, 45, 255, 256, 70_000] {
                for expire_at_ms in [None, Some(0), Some(u64::MAX)] {
                    let (key, value) = (vec![7; key_len], vec![9; value_len]);
                    let mut entry = Entry::string(&key, &value, expire_at_ms, 0x12_3456);
                    assert_eq!(entry.key(), key);
                    assert_eq!(entry.content(), Some(Content::Bytes(&value)));
                    assert_eq!(entry.expire_at_ms(), expire_at_ms);
                    assert_eq!(entry.access(), 0x12_3456);
                    for next in [Some(5), Some(6), None, None, Some(7)] {
                        entry.set_expire_at_ms(next);
                        assert_eq!(entry.expire_at_ms(), next);
                        assert_eq!(entry.key(), key);
                        assert_eq!(entry.content(), Some(Content::Bytes(&value)));
                    }
                    entry.change_text(&TextChange::Append(b"more"));
                    assert_eq!(entry.text_len(), Some(value_len + 4));
                    entry.set_expire_at_ms(None);
                    assert_eq!(entry.text_len(), Some(value_len + 4));
                    assert_eq!(entry.encoding(), Encoding::Raw);
                    assert_eq!(entry.access(), 0x12_3456);
                }
            }
        }
    }

    #[test]
    fn overwriting_keeps_to_the_class() {
        let mut entry = Entry::string(KEY, b"0123456789", None, 1);
        assert!(entry.overwrite_string(b"9876", None));
        assert!(entry.overwrite_string(b"9876543210", None));
        assert!(!entry.overwrite_string(b"9876543210x", None), "33 bytes need another class");
        assert!(!entry.overwrite_string(b"98", Some(5)), "the expiry moves the key");
        assert_eq!(entry.content(), Some(Content::Bytes(b"9876543210")));
        let mut entry = Entry::integer(KEY, -5, Some(3), 1);
        assert!(entry.overwrite_string(b"abc", Some(4)));
        assert_eq!(
            (entry.content(), entry.expire_at_ms()),
            (Some(Content::Bytes(b"abc")), Some(4))
        );
        let mut wide = Entry::string(KEY, &[1; 300], None, 1);
        assert!(!wide.overwrite_string(b"short", None));
        assert!(wide.overwrite_string(&[2; 305], None));
        assert_eq!(wide.content(), Some(Content::Bytes(&[2; 305])));
    }

    #[test]
    fn parts_are_overwritten_where_they_lie() {
        let mut entry = Entry::string(KEY, b"0123456789", Some(1), 1);
        assert!(entry.overwrite_part(8, b"xy") && entry.overwrite_part(0, b"ab"));
        assert_eq!(
            (entry.content(), entry.encoding()),
            (Some(Content::Bytes(b"ab234567xy")), Encoding::Raw)
        );
        for (offset, bytes) in [(9, &b"xy"[..]), (usize::MAX, b"x"), (0, b"0123456789x")] {
            assert!(!entry.overwrite_part(offset, bytes), "{offset}");
        }
        assert!(!Entry::integer(KEY, 1234, None, 1).overwrite_part(0, b"5"));
        let mut buffer = Entry::string(KEY, &[1; 2000], None, 1);
        assert!(buffer.overwrite_part(1999, b"x"));
        buffer.change_text(&TextChange::Append(b"1"));
        assert!(!buffer.overwrite_part(0, b"x"));
    }

    #[test]
    fn integers_live_in_place() {
        let mut entry = Entry::integer(KEY, i64::MIN, None, 0);
        assert_eq!((entry.encoding(), entry.text_len()), (Encoding::Int, Some(20)));
        entry.replace_integer(100);
        assert_eq!((entry.content(), entry.text_len()), (Some(Content::Integer(100)), Some(3)));
        entry.set_expire_at_ms(Some(9));
        assert_eq!((entry.content(), entry.expire_at_ms()), (Some(Content::Integer(100)), Some(9)));
        entry.change_text(&TextChange::Append(b"x"));
        assert_eq!(entry.content(), Some(Content::Bytes(b"100x")));
        for value in [0, 9, 10, -1, -10, i64::MAX] {
            assert_eq!(decimal_len(value), value.to_string().len());
        }
    }

    /// A collection of this many elements.
    fn collection(count: usize) -> Box<Collection> {
        let mut fields = Fields::new(&KeyHasher::new(1));
        for number in 0..count {
            fields.set(number.to_string().as_bytes(), b"value", None);
        }
        Box::new(Collection::Hash(fields))
    }

    fn small_of(entry: &Entry) -> (Small, &[u8]) {
        match entry.value() {
            Value::Small(small, bytes) => (small, bytes),
            other => panic!("{other:?} is not small"),
        }
    }

    fn is_boxed_of(entry: &Entry, count: usize) -> bool {
        entry.collection().is_some_and(|collection| collection.len() == count)
    }

    #[test]
    fn collections_keep_to_their_entry() {
        for expire_at_ms in [None, Some(7)] {
            let mut entry = Entry::small(Small::Hash, KEY, b"small", expire_at_ms, 3);
            assert_eq!(small_of(&entry), (Small::Hash, &b"small"[..]));
            assert_eq!((entry.kind(), entry.encoding()), (Kind::Hash, Encoding::Listpack));
            for len in [0, 1, 6, 100, 300, 5000, 5] {
                entry.set_small(Small::Hash, &vec![9; len]);
                assert_eq!(small_of(&entry), (Small::Hash, &*vec![9; len]));
                assert_eq!((entry.key(), entry.access()), (KEY, 3));
                assert_eq!(entry.expire_at_ms(), expire_at_ms);
            }
            let small = entry.heap_bytes();
            entry.set_boxed(collection(100));
            assert!(is_boxed_of(&entry, 100) && entry.heap_bytes() > small + 500);
            assert_eq!((entry.kind(), entry.encoding()), (Kind::Hash, Encoding::Hashtable));
            assert_eq!((entry.key(), entry.access()), (KEY, 3));
            entry.set_expire_at_ms(Some(9));
            assert!(is_boxed_of(&entry, 100) && entry.text_len().is_none());
            assert!(!entry.overwrite_string(b"12345678", Some(9)));
            entry.set_small(Small::Set, b"x");
            assert_eq!((entry.kind(), entry.heap_bytes() < 60), (Kind::Set, true));
            assert!(entry.overwrite_string(b"y", Some(9)));
            assert_eq!(entry.content(), Some(Content::Bytes(b"y")));
        }
    }

    #[test]
    fn a_collection_leaves_its_entry() {
        let entry = Entry::boxed(KEY, collection(3), None, 0);
        assert_eq!(entry.into_collection().expect("it is boxed").len(), 3);
        let entry = Entry::string(KEY, b"text", None, 0);
        assert_eq!(
            entry.into_collection().expect_err("it is not").content(),
            Some(Content::Bytes(b"text"))
        );
    }
}

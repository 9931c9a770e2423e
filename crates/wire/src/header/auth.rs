//! Headers of user and access control administration.

use std::borrow::Cow;

use super::Header;

/// Creates the user in the body.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CreateUserRequestHeader")]
pub struct CreateUserRequest<'a> {
    /// Name of the user.
    pub username: Option<Cow<'a, str>>,
}

/// Changes a user to what is in the body.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "UpdateUserRequestHeader")]
pub struct UpdateUserRequest<'a> {
    /// Name of the user.
    pub username: Option<Cow<'a, str>>,
}

/// Deletes a user.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "DeleteUserRequestHeader")]
pub struct DeleteUserRequest<'a> {
    /// Name of the user.
    pub username: Option<Cow<'a, str>>,
}

/// Asks for a user.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetUserRequestHeader")]
pub struct GetUserRequest<'a> {
    /// Name of the user.
    pub username: Option<Cow<'a, str>>,
}

/// Asks for users.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ListUsersRequestHeader")]
pub struct ListUsersRequest<'a> {
    /// Part of the names wanted; absent: all.
    pub filter: Option<Cow<'a, str>>,
}

/// Creates the policies in the body.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "CreateAclRequestHeader")]
pub struct CreateAclRequest<'a> {
    /// Whom they are for, such as `User:alice`.
    pub subject: Option<Cow<'a, str>>,
}

/// Changes the policies to what is in the body.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "UpdateAclRequestHeader")]
pub struct UpdateAclRequest<'a> {
    /// Whom they are for, such as `User:alice`.
    pub subject: Option<Cow<'a, str>>,
}

/// Deletes policies.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "DeleteAclRequestHeader")]
pub struct DeleteAclRequest<'a> {
    /// Whom they are for, such as `User:alice`.
    pub subject: Option<Cow<'a, str>>,
    /// `Custom` or `Default`; absent: both.
    pub policy_type: Option<Cow<'a, str>>,
    /// Resource such as `Topic:*`; absent: all.
    pub resource: Option<Cow<'a, str>>,
}

/// Asks for the policies of a subject.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "GetAclRequestHeader")]
pub struct GetAclRequest<'a> {
    /// Whom they are for, such as `User:alice`.
    pub subject: Option<Cow<'a, str>>,
}

/// Asks for policies.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ListAclsRequestHeader")]
pub struct ListAclsRequest<'a> {
    /// Part of the subjects wanted; absent: all.
    pub subject_filter: Option<Cow<'a, str>>,
    /// Part of the resources wanted; absent: all.
    pub resource_filter: Option<Cow<'a, str>>,
}

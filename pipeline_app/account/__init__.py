"""The few pages of people who sign in through an OpenID provider: in, out, and their own API keys."""

"""The Noise protocol framework, revision 34, as far as Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s needs it.

Files and names follow the specification: primitives (12), CipherState and SymmetricState (5.1, 5.2), handshake
patterns (7, 9), HandshakeState (5.3). https://noiseprotocol.org/noise.html
"""

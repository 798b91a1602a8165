/* OpenSSL's RSA-2048 with SHA-256 (PKCS#1 v1.5), for benches/signatures.rs: prints the seconds of one signature and of one
 * verification, the best of five rounds.
 *
 *     cc -O2 -o openssl_rsa openssl_rsa.c -lcrypto
 *     openssl_rsa KEY.b64 SIGNATURES VERIFICATIONS      (the key: PKCS#8 in bare base64)
 */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void must(int fine, const char *what) {
    if (!fine) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

int main(int argc, char **argv) {
    must(argc == 4, "usage: openssl_rsa KEY.b64 SIGNATURES VERIFICATIONS");
    static char text[8192], bare[8192];
    static unsigned char der[8192], signature[1024], message[400];
    FILE *file = fopen(argv[1], "r");
    must(file != NULL, "opening the key");
    size_t length = fread(text, 1, sizeof text - 1, file), kept = 0;
    fclose(file);
    for (size_t i = 0; i < length; i++)
        if (text[i] > ' ') bare[kept++] = text[i];
    int decoded = EVP_DecodeBlock(der, (unsigned char *)bare, (int)kept);
    must(decoded > 0, "base64");
    const unsigned char *at = der;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, decoded);
    must(key != NULL, "the key");
    memset(message, 'x', sizeof message);
    size_t signed_length = sizeof signature;
    double best[2] = {1e9, 1e9};
    for (int round = 0; round < 5; round++) {
        for (int verifying = 0; verifying < 2; verifying++) {
            int times = atoi(argv[2 + verifying]);
            double began = now();
            for (int i = 0; i < times; i++) {
                EVP_MD_CTX *context = EVP_MD_CTX_new();
                if (verifying) {
                    must(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1, "init");
                    must(EVP_DigestVerify(context, signature, signed_length, message, sizeof message) == 1, "verify");
                } else {
                    signed_length = sizeof signature;
                    must(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1, "init");
                    must(EVP_DigestSign(context, signature, &signed_length, message, sizeof message) == 1, "sign");
                }
                EVP_MD_CTX_free(context);
            }
            double each = (now() - began) / times;
            if (each < best[verifying]) best[verifying] = each;
        }
    }
    printf("%.9f %.9f\n", best[0], best[1]);
    return 0;
}

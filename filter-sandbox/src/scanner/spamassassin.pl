# Reads one letter, says one number. Runs where nothing can be written and nobody can be asked.
use strict;
use Mail::SpamAssassin;

# Parts that would go to temporary files are kept in memory: this is what SpamAssassin does when it gets none.
no warnings 'redefine';
*Mail::SpamAssassin::Util::secure_tmpfile = sub { return };

my $scanner = Mail::SpamAssassin->new({
    local_tests_only     => 1,
    dont_copy_prefs      => 1,
    site_rules_filename  => '/etc/spamassassin',
    userprefs_filename   => '/none',
    userstate_dir        => '/none',
    home_dir_for_helpers => '/none',
    username             => 'scanner',
    post_config_text     => "use_bayes 0\nuse_auto_welcomelist 0\n",
});
$scanner->init(1);
my $letter = $scanner->parse(\*STDIN, 1);
my $status = $scanner->check($letter);
my $points = $status->get_score();
$points = 9999 if $points > 9999;
$points = -9999 if $points < -9999;
my $line = sprintf("%.1f\n", $points);
syswrite(STDOUT, $line) == length $line or exit 1;
# Nothing here is worth tidying up.
require POSIX;
POSIX::_exit(0);
